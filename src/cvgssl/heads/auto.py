"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.features.graph import digest, edges_crossed, neighbour_graph, remembered
from cvgssl.heads.base import FewShotHead, Floats, one_hot, unit
from cvgssl.heads.calibration import (
    agreed_temperature,
    fitted_temperature,
    left_out,
    right,
    tempered,
)
from cvgssl.heads.diffusion import DiffusionHead, is_crowd
from cvgssl.heads.linear import KernelRidge
from cvgssl.heads.transport import TransportHead

PRIOR_LABELS = 5.0  # how many labels the prior of the weights counts for
STEPS = 50  # of the iteration that finds them


class AutoHead(FewShotHead):
    """A mean of candidates, weighed by how likely they find labels that were left out.

    The support is divided into up to five parts (each class spread over them); every candidate
    is fitted without one part's labels, whose pictures stay as unlabelled ones. What it says of
    these labels gives it a temperature. The weights are those at which the mean finds the labels
    likeliest (stacking, Wolpert 1992), drawn to the prior by as much as 5 labels would, so a
    candidate that unlabelled pictures mislead loses its weight. Transport's share of the prior
    is divided by the labels per class: it expects one cluster per class, and labels hardly move it.

    With one label per class nothing can be left out: the prior decides, and the mean takes the
    temperature at which it is as sure of the unlabelled pictures as the diffusion map and
    transport agree about them.

    Labels alone decide, by kernel ridge, with fewer than 100 unlabelled pictures, and where the map
    does not keep neighbours together: where what the diffusion head says of all rows parts more
    neighbours (by edge weight) than what kernel ridge says of them. Both are regressions of the
    same labels, so the one that the graph of the pictures contradicts more has less to stand on.

    prior: weights of labels alone (kernel ridge), the diffusion map, transport on it, with one
        label per class.
    weights_, temperatures_: of the candidates. temperature_: of their mean.
    label_distributions_: probabilities [N, K] of the rows of `fit`.
    """

    uses_unlabelled = True

    def __init__(self, prior: tuple[float, ...] = (0.2, 0.4, 0.4)) -> None:
        self.prior = prior

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        alone = KernelRidge()
        candidates: list[FewShotHead] = [alone]
        if is_crowd(target) and _map_holds(features, target, alone):
            candidates += [DiffusionHead(), TransportHead()]
        left = self._weigh(candidates, features, target)
        self.heads_ = [clone(one).fit(features, target) for one in candidates]
        said = [getattr(one, "label_distributions_", None) for one in self.heads_]
        mixed = self._mixed(said, features)
        known = target >= 0
        self.temperature_ = 1.0
        if not left:
            free = [one[~known] for one in said if one is not None]
            self.temperature_ = agreed_temperature(mixed[~known], free)
        self.label_distributions_ = tempered(mixed, self.temperature_)
        self.label_distributions_[known] = one_hot(target, len(self.classes_))[known]

    def _weigh(
        self, candidates: list[FewShotHead], features: Floats, target: NDArray[np.int64]
    ) -> int:
        """Temperatures and weights of the candidates; how many labels could be left out."""
        self.temperatures_, likely = [], []
        for one in candidates:
            found, rows = left_out(one, features, target)
            self.temperatures_.append(fitted_temperature(found, target[rows]))
            likely.append(right(tempered(found, self.temperatures_[-1]), target[rows]))
        prior = np.array(self.prior[: len(candidates)], dtype=np.float64)
        prior[2:] *= len(self.classes_) / (target >= 0).sum()
        self.weights_ = stacked(np.exp(likely), prior / prior.sum())
        return len(rows)

    def _mixed(self, known: list[Floats | None], features: Floats) -> Floats:
        mixed = np.zeros((len(features), len(self.classes_)))
        for weight, temperature, head, found in zip(
            self.weights_, self.temperatures_, self.heads_, known, strict=True
        ):
            mixed += weight * tempered(
                head.predict_proba(features) if found is None else found, temperature
            )
        return mixed

    def _probabilities(self, features: Floats) -> Floats:
        return tempered(self._mixed([None] * len(self.heads_), features), self.temperature_)


def stacked(likely: Floats, prior: Floats) -> Floats:
    """Weights [C] of the mean of C candidates under which labels left out are likeliest.

    likely: probability [C, L] that each candidate gave each of L labels. prior: [C], sum 1, worth
    `PRIOR_LABELS` labels. By expectation maximisation, from the prior; without labels that is it.
    """
    weights = prior
    for _ in range(STEPS):
        shares = weights[:, None] * likely
        counts = (shares / shares.sum(axis=0)).sum(axis=1) + PRIOR_LABELS * prior
        weights = counts / counts.sum()
    return weights


def _map_holds(features: Floats, target: NDArray[np.int64], alone: FewShotHead) -> bool:
    """Whether the diffusion map parts fewer neighbours than labels alone do; see `AutoHead`."""
    graph = remembered(("graph", digest(features)), lambda: neighbour_graph(unit(features), 10))
    mapped = DiffusionHead().fit(features, target).label_distributions_.argmax(axis=1)
    labelled = clone(alone).fit(features[target >= 0], target[target >= 0])
    return edges_crossed(graph, mapped) < edges_crossed(graph, labelled.predict(features))
