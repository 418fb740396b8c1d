"""Whether the unlabelled pictures help is decided by the labels at hand, not assumed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.base import FewShotHead, Floats, one_hot
from cvgssl.fewshot.heads.diffusion import DiffusionHead
from cvgssl.fewshot.heads.left_out import left_out, right
from cvgssl.fewshot.heads.linear import KernelRidge
from cvgssl.fewshot.heads.transport import TransportHead


class AutoHead(FewShotHead):
    """A mean of candidates, weighed by how likely they find labels that were left out.

    The support is divided into up to five parts (each class spread over them); every candidate
    is fitted without one part's labels, whose pictures stay as unlabelled ones, and its
    log-probabilities of these labels count, so a candidate that unlabelled pictures mislead loses
    its weight: weights are the softmax of their sum and log `prior` (a pseudo-posterior). With one
    label per class nothing can be left out and the prior decides.

    prior: weights of labels alone (kernel ridge), the diffusion map, transport on it.
    weights_: those used. label_distributions_: probabilities [N, K] of the rows of `fit`.
    """

    uses_unlabelled = True

    def __init__(self, prior: tuple[float, ...] = (0.2, 0.4, 0.4)) -> None:
        self.prior = prior

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        candidates = [KernelRidge(), DiffusionHead(), TransportHead()]
        found, rows = zip(*(left_out(one, features, target) for one in candidates), strict=True)
        evidence = np.array([right(one, target[rows[0]]).sum() for one in found])
        scores = np.log(np.asarray(self.prior)) + evidence
        self.weights_ = np.exp(scores - scores.max())
        self.weights_ /= self.weights_.sum()
        self.heads_ = [clone(one).fit(features, target) for one in candidates]
        self.label_distributions_ = self._mixed(
            [getattr(one, "label_distributions_", None) for one in self.heads_], features
        )
        known = target >= 0
        self.label_distributions_[known] = one_hot(target, len(self.classes_))[known]

    def _mixed(self, known: list[Floats | None], features: Floats) -> Floats:
        mixed = np.zeros((len(features), len(self.classes_)))
        for weight, head, found in zip(self.weights_, self.heads_, known, strict=True):
            mixed += weight * (head.predict_proba(features) if found is None else found)
        return mixed

    def _probabilities(self, features: Floats) -> Floats:
        return self._mixed([None] * len(self.heads_), features)
