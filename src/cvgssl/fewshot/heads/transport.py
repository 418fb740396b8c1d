"""Assignment of all pictures to classes by optimal transport on the diffusion map."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.heads.base import Floats, class_means, one_hot, softmax, unit
from cvgssl.fewshot.heads.diffusion import MapHead

ROUNDS, STEPS = 10, 10


class TransportHead(MapHead):
    """Means moved by Sinkhorn assignments (PT-MAP, Hu et al. 2021), classes of unknown size.

    Pictures are assigned so that every class receives its share; the shares are estimated, as
    free assignments drawn `balance` of the way to equal ones, not assumed. See `MapHead`. A new
    row takes the nearest mean by itself.

    balance: 0 free, 1 equal classes. scale: of cosines, before the assignment.
    """

    def __init__(
        self,
        neighbours: int = 10,
        time: float = 8.0,
        width: int = 64,
        ridge: float = 1e-5,
        balance: float = 0.3,
        scale: float = 10.0,
    ) -> None:
        super().__init__(neighbours, time, width, ridge)
        self.balance = balance
        self.scale = scale

    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        classes = len(self.classes_)
        fixed, known = one_hot(target, classes), target >= 0
        self.means_ = unit(class_means(rows, fixed))
        for _ in range(ROUNDS):
            scores = self.scale * (rows @ self.means_.T)
            free = softmax(scores).mean(axis=0)
            shares = (1 - self.balance) * free + self.balance / classes
            assigned = sinkhorn(scores, shares)
            assigned[known] = fixed[known]
            means = unit(class_means(rows, assigned))
            self.means_ = unit(0.6 * self.means_ + 0.4 * means)
        return assigned

    def _score_mapped(self, rows: Floats) -> Floats:
        return softmax(self.scale * (rows @ self.means_.T))


def sinkhorn(scores: Floats, shares: Floats) -> Floats:
    """Probabilities [N, K] near softmax(scores [N, K]) whose column means are `shares` [K]."""
    plan: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    plan /= plan.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        plan *= shares / plan.mean(axis=0).clip(1e-300)
        plan /= plan.sum(axis=1, keepdims=True)
    return plan
