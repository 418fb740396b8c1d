"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.base import Floats, FewShotHead, one_hot
from cvgssl.fewshot.heads.diffusion import DiffusionHead
from cvgssl.fewshot.heads.linear import KernelRidge
from cvgssl.fewshot.heads.transport import TransportHead

PARTS = 5  # of the support, each left out once


class AutoHead(FewShotHead):
    """A mean of candidates, weighed by how likely they find labels that were left out.

    The support is divided into up to five parts (each class spread over them); every candidate
    is fitted without one part's labels, whose pictures stay as unlabelled ones, and its mean
    log-probability of these labels counts, so a candidate that unlabelled pictures mislead loses
    its weight. Weights are the softmax of log-likelihood per class times the number of labels left
    out, beside `prior`. With one label per class nothing can be left out and the prior decides.

    prior: weights of labels alone (kernel ridge), the diffusion map, transport on it.
    weights_: those used. label_distributions_: probabilities [N, K] of the rows of `fit`.
    """

    uses_unlabelled = True

    def __init__(self, prior: tuple[float, ...] = (0.2, 0.4, 0.4)) -> None:
        self.prior = prior

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        candidates = [KernelRidge(), DiffusionHead(), TransportHead()]
        evidence = self._evidence(candidates, features, target)
        scores = np.log(np.asarray(self.prior)) + evidence
        self.weights_ = np.exp(scores - scores.max())
        self.weights_ /= self.weights_.sum()
        self.heads_ = [clone(one).fit(features, target) for one in candidates]
        self.label_distributions_ = self._mixed(
            [getattr(one, "label_distributions_", None) for one in self.heads_], features
        )
        known = target >= 0
        self.label_distributions_[known] = one_hot(target, len(self.classes_))[known]

    def _evidence(
        self, candidates: list[FewShotHead], features: Floats, target: NDArray[np.int64]
    ) -> Floats:
        """Log-likelihood of left-out labels under each candidate, classes weighing the same."""
        parts = left_out_parts(target)
        total = np.zeros(len(candidates))
        for number, head in enumerate(candidates):
            for part in parts:
                without = target.copy()
                without[part] = -1
                found = clone(head).fit(features, without).predict_proba(features[part])
                likely = found[np.arange(len(part)), target[part]]
                total[number] += np.log(likely.clip(0.01)).sum()
        return total

    def _mixed(self, known: list[Floats | None], features: Floats) -> Floats:
        mixed = np.zeros((len(features), len(self.classes_)))
        for weight, head, found in zip(self.weights_, self.heads_, known, strict=True):
            mixed += weight * (head.predict_proba(features) if found is None else found)
        return mixed

    def _probabilities(self, features: Floats) -> Floats:
        return self._mixed([None] * len(self.heads_), features)


def left_out_parts(target: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Rows of the support to be left out together: up to five parts, a class in all of them kept.

    Rows of a class with a single label are never left out. Empty without a class of two.
    """
    parts: list[list[int]] = [[] for _ in range(PARTS)]
    for label in range(int(target.max()) + 1):
        rows = np.flatnonzero(target == label)
        count = min(len(rows), PARTS)
        if count < 2:
            continue
        for place, row in enumerate(rows):
            parts[(place % count + label) % PARTS].append(int(row))
    return [np.array(part, dtype=np.intp) for part in parts if part]
