"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.features.graph import edges_crossed, neighbour_graph
from cvgssl.features.memo import digest, remembered
from cvgssl.fewshot.heads.base import FewShotHead, Floats, one_hot, unit
from cvgssl.fewshot.heads.diffusion import DiffusionHead, is_crowd
from cvgssl.fewshot.heads.left_out import left_out
from cvgssl.fewshot.heads.linear import KernelRidge
from cvgssl.fewshot.heads.temperature import agreed_temperature, fitted_temperature, tempered
from cvgssl.fewshot.heads.transport import TransportHead


class AutoHead(FewShotHead):
    """A mean of candidates, weighed by how likely they find labels that were left out.

    The support is divided into up to five parts (each class spread over them); every candidate
    is fitted without one part's labels, whose pictures stay as unlabelled ones. What it says of
    these labels gives it a temperature and, with that, their log-likelihood, so a candidate that
    unlabelled pictures mislead loses its weight: weights are the softmax of the log-likelihood
    and log `prior` (a pseudo-posterior). With one label per class nothing can be left out: the
    prior decides, and the mean takes the temperature at which it is as sure of the unlabelled
    pictures as the diffusion map and transport agree about them.

    Labels alone decide, by kernel ridge, with fewer than 100 unlabelled pictures, and where the map
    does not keep neighbours together: where what the diffusion head says of all rows parts more
    neighbours (by edge weight) than what kernel ridge says of them. Both are regressions of the
    same labels, so the one that the graph of the pictures contradicts more has less to stand on.

    prior: weights of labels alone (kernel ridge), the diffusion map, transport on it.
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
        judged = []
        for one in candidates:
            found, rows = left_out(one, features, target)
            judged.append(fitted_temperature(found, target[rows]))
        self.temperatures_ = [temperature for temperature, _ in judged]
        scores = np.log(self.prior[: len(judged)]) + [likely for _, likely in judged]
        self.weights_ = np.exp(scores - scores.max())
        self.weights_ /= self.weights_.sum()
        self.heads_ = [clone(one).fit(features, target) for one in candidates]
        said = [getattr(one, "label_distributions_", None) for one in self.heads_]
        mixed = self._mixed(said, features)
        known = target >= 0
        self.temperature_ = 1.0
        if not len(rows):  # one label per class
            free = [one[~known] for one in said if one is not None]
            self.temperature_ = agreed_temperature(mixed[~known], free)
        self.label_distributions_ = tempered(mixed, self.temperature_)
        self.label_distributions_[known] = one_hot(target, len(self.classes_))[known]

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


def _map_holds(features: Floats, target: NDArray[np.int64], alone: FewShotHead) -> bool:
    """Whether the diffusion map parts fewer neighbours than labels alone do; see `AutoHead`."""
    graph = remembered(("graph", digest(features)), lambda: neighbour_graph(unit(features), 10))
    mapped = DiffusionHead().fit(features, target).label_distributions_.argmax(axis=1)
    labelled = clone(alone).fit(features[target >= 0], target[target >= 0])
    return edges_crossed(graph, mapped) < edges_crossed(graph, labelled.predict(features))
