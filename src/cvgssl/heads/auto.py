"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.graph import edges_crossed, neighbour_graph
from cvgssl.features.graph_cache import cached, graph_cache
from cvgssl.heads.auto_decision import AutoDecision, reason_of
from cvgssl.heads.base import FewShotHead, Floats, HeadOfHeads, SupportViews, one_hot, unit
from cvgssl.heads.calibration import (
    distinctness,
    fit_temperature,
    held_out_predictions,
    log_likelihoods,
    mean_agreement,
    scale_temperature,
    temperature_of_confidence,
)
from cvgssl.heads.diffusion import DiffusionHead, enough_unlabelled
from cvgssl.heads.linear import KernelRidge
from cvgssl.heads.transport import TransportHead

PRIOR_LABELS = 5.0  # how many labels the prior of the weights counts for
STEPS = 50  # of the iteration that finds them
NEIGHBOURS = 10  # of the graph by which labels and map are compared
# agreement of diffusion and transport from which on a candidate counts, and at which it counts
# fully; chosen inside train/ with one class made to dominate (docs/results/dominated.md)
DIFFUSION_COUNTS, TRANSPORT_COUNTS = (0.75, 0.9), (0.85, 0.95)
LEAST_BELIEVED = 0.3  # of the agreement of heads, with one label per class
LEAST_SHARE = 0.05  # of its prior that a candidate keeps, so that held-out labels may raise it


class AutoHead(HeadOfHeads):
    """A mean of candidates, weighed by how likely they make held-out labels.

    The support is divided into up to five folds (each class spread over them); every candidate is
    fitted without one fold's labels, whose pictures remain as unlabelled ones. Its predictions for
    these labels give it a temperature. The weights are those at which the mean gives the labels
    the largest likelihood (stacking), drawn to the prior by as much as 5 labels would, so a
    candidate that unlabelled pictures mislead loses its weight. Transport's share of the prior is
    divided by the labels per class: it expects one cluster per class, and labels hardly move it.

    Where one class dominates or consists of several clusters, both mislead, and they do so in
    different ways: transport gives every class its share, diffusion goes by the nearest label on
    the map. So the less they agree about the unlabelled pictures, the less of their prior is left,
    transport's going first.

    The mean takes a temperature of its own, by its held-out predictions. With one label per class
    nothing can be held out: the prior decides, and the mean is as sure of the unlabelled pictures
    as kernel ridge, diffusion and transport agree about them (mean over pairs), less where the
    labels of other classes are hardly further from a picture than the nearest one
    (`distinctness`).

    Labels alone decide, by kernel ridge, with fewer than 100 unlabelled pictures, and where the
    map does not keep neighbours together: where the diffusion head's classes of all rows cross at
    least as much edge weight of the neighbour graph as kernel ridge's do. Both are regressions of
    the same labels, so the one that the graph of the pictures contradicts more is less credible.

    Views of labelled rows, such as mirror images, are for kernel ridge alone: on the map they
    gained less, and lost points where a class has a direction (docs/results/defaults.md).

    Parameters
    ----------
    prior : tuple of float, default=(0.2, 0.4, 0.4)
        Weights of labels alone (kernel ridge), diffusion and transport, with one label per class.

    Attributes
    ----------
    decision_ : AutoDecision
        What decided, readable and as JSON values.
    heads_ : list of FewShotHead
        The candidates, fitted to all labels.
    weights_, temperatures_ : ndarray, list of float
        Of the candidates.
    temperature_ : float
        Of their mean.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the rows of `fit`.

    References
    ----------
    Wolpert 1992 (Neural Networks 5), "Stacked generalization".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.auto import AutoHead
    >>> head = AutoHead().fit([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], [0, 0, 1, 1])
    >>> head.predict([[0.8, 0.3]])
    array([0])
    >>> print(head.decision_)  # doctest: +ELLIPSIS
    unlabelled pictures are not used by this head: 0 unlabelled ones are too few, it needs 100
    the answer is that of kernel-ridge; temperature of each ..., then of the answer 0.99
    """

    def __init__(self, prior: tuple[float, ...] = (0.2, 0.4, 0.4)) -> None:
        self.prior = prior

    def _fit_viewed(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        with graph_cache():  # the candidates' maps are the same
            self._fit_candidates(features, target, views)

    def _fit_candidates(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        by_labels = KernelRidge().fit(features, target, views)
        candidates: dict[str, FewShotHead] = {"kernel-ridge": by_labels}
        distributions = [by_labels.predict_proba(features)]
        labelled = target >= 0
        answers, crossed = [distributions[0][~labelled]], None
        if enough_unlabelled(target):
            by_map = DiffusionHead().fit(features, target)
            answers.append(by_map.label_distributions_[~labelled])
            crossed = _crossed(features, by_map.label_distributions_, distributions[0])
        gate_open = crossed is not None and crossed[0] < crossed[1]
        if gate_open:
            transport = TransportHead().fit(features, target)
            candidates |= {"diffusion": by_map, "transport": transport}
            distributions += [by_map.label_distributions_, transport.label_distributions_]
            answers.append(distributions[-1][~labelled])
        self.heads_ = list(candidates.values())
        agreement = _agreement(answers[1:])
        held_out = self._weigh(features, target, views, agreement)
        mixed = self._mixed(distributions)
        if not held_out and len(answers) > 1:
            believed = max(distinctness(features, target), LEAST_BELIEVED)
            sure = mean_agreement(answers) * believed
            self.temperature_ = temperature_of_confidence(mixed[~labelled], sure)
        self.label_distributions_ = scale_temperature(mixed, self.temperature_)
        self.label_distributions_[labelled] = one_hot(target, len(self.classes_))[labelled]
        self.decision_ = AutoDecision(
            tuple(candidates),
            gate_open,
            reason_of(crossed, int((~labelled).sum())),
            int((~labelled).sum()),
            held_out,
            agreement,
            crossed,
            tuple(map(float, self.weights_)),
            tuple(self.temperatures_),
            self.temperature_,
        )

    def _weigh(
        self,
        features: Floats,
        target: NDArray[np.int64],
        views: SupportViews | None,
        agreement: float | None,
    ) -> int:
        """Temperatures and weights by labels that are held out; how many that could be."""
        self.temperatures_, held_out = [], []
        for candidate in self.heads_:
            predictions, rows = held_out_predictions(candidate, features, target, views)
            temperature = fit_temperature(predictions, target[rows])
            self.temperatures_.append(temperature)
            held_out.append(scale_temperature(predictions, temperature))
        prior = np.array(self.prior[: len(self.heads_)], dtype=np.float64)
        prior[2:] *= len(self.classes_) / (target >= 0).sum()
        if agreement is not None:
            prior[1:] *= [
                _counts(agreement, DIFFUSION_COUNTS),
                _counts(agreement, TRANSPORT_COUNTS),
            ]
        likelihoods = [log_likelihoods(predictions, target[rows]) for predictions in held_out]
        self.weights_ = stacking_weights(np.exp(likelihoods), prior / prior.sum())
        mixed = np.tensordot(self.weights_, held_out, 1)
        self.temperature_ = fit_temperature(mixed, target[rows])
        return len(rows)

    def _mixed(self, distributions: list[Floats]) -> Floats:
        """Weighted mean [M, K] of the candidates' probabilities, with their temperatures."""
        mixed = np.zeros_like(distributions[0])
        for weight, temperature, probabilities in zip(
            self.weights_, self.temperatures_, distributions, strict=True
        ):
            mixed += weight * scale_temperature(probabilities, temperature)
        return mixed

    def _probabilities(self, features: Floats) -> Floats:
        with graph_cache():  # several heads map the same rows
            mixed = self._mixed([head._probabilities(features) for head in self.heads_])
        return scale_temperature(mixed, self.temperature_)


def stacking_weights(likelihoods: Floats, prior: Floats) -> Floats:
    """Weights [C] of the mean of C candidates that give held-out labels the largest likelihood.

    likelihoods: probability [C, L] that each candidate gave each of L labels. prior: [C], sum 1,
    worth `PRIOR_LABELS` labels. Expectation maximisation begins at the prior; without labels the
    result is the prior.
    """
    weights = prior
    for _ in range(STEPS):
        shares = weights[:, None] * likelihoods
        counts = (shares / shares.sum(axis=0)).sum(axis=1) + PRIOR_LABELS * prior
        weights = counts / counts.sum()
    return weights


def _agreement(distributions: Sequence[Floats]) -> float | None:
    """Share of the rows whose likeliest class is the same by both [M, K]; None without two."""
    if len(distributions) < 2:
        return None
    first, second = (rows.argmax(axis=1) for rows in distributions)
    return float((first == second).mean())


def _counts(agreement: float, bounds: tuple[float, float]) -> float:
    """What is left of a prior, `LEAST_SHARE` below the bounds and 1 above them."""
    low, high = bounds
    return min(max((agreement - low) / (high - low), LEAST_SHARE), 1.0)


def _crossed(features: Floats, by_map: Floats, by_labels: Floats) -> tuple[float, float]:
    """Share of edge weight that the classes by two heads' probabilities [N, K] cross."""
    graph = cached(lambda: neighbour_graph(unit(features), NEIGHBOURS), "graph", features)
    return (
        edges_crossed(graph, by_map.argmax(axis=1)),
        edges_crossed(graph, by_labels.argmax(axis=1)),
    )
