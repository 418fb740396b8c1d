"""Few labels beside what the classes are called: regression of what the texts leave unexplained.

Shape letters: L labelled rows, M rows to be classified, D features, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvgssl.fewshot.heads.base import Floats, one_hot, softmax, unit
from cvgssl.fewshot.heads.left_out import right
from cvgssl.fewshot.heads.linear import KernelRidge
from cvgssl.fewshot.heads.text_anchored import TextHead

WEIGHTS = np.concatenate([[0.0], np.geomspace(0.1, 4, 12)])
PRIOR = np.concatenate([[-2.0], -2 * np.log(WEIGHTS[1:] / 0.5) ** 2])  # log; 0 as likely as 1.35


class TextRidge(TextHead, KernelRidge):
    """Kernel ridge regression of what the texts leave unexplained: a Gaussian process whose prior
    mean is linear in the cosines to the texts.

    Their weight is chosen by the labels: the one whose leave-one-out scores, in closed form
    (Rasmussen and Williams 2006, eq. 5.12), make these likeliest, under a log-normal prior around
    a half. So texts that say nothing of the surface cost little from a few labels on. Compare the
    blending of texts and labels in LP++ (Huang et al. 2024) and the pull towards texts in CLAP
    (Silva-Rodriguez et al. 2024), both of which need training. Without any label it is the
    zero-shot classifier.

    kernel, ridge, scale: as of `KernelRidge`. anchor_scale: for no label only.
    weight_: of the texts, 1: they vary as much as the labels do; None without labels.
    """

    weight_: float | None

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
        kernel: str = "gauss",
        ridge: float = 0.1,
        scale: float = 6.0,
    ) -> None:
        super().__init__(kernel, ridge, scale)
        self.anchors = anchors
        self.classes = classes
        self.anchor_scale = anchor_scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.weight_ = None
        if not len(target):
            return
        rows, count = unit(features), len(self.classes_)
        # labelled rows are of the classes seen: a class nobody labelled is not unlikely elsewhere
        seen = np.unique(target)
        spread = float(
            np.sqrt(((rows @ (self.anchors_ - self.anchors_.mean(axis=0)).T) ** 2).mean())
        )
        self.unit_ = np.sqrt(count - 1) / count / max(spread, 1e-12)  # the labels' own spread
        texts = self.unit_ * (rows @ (self.anchors_[seen] - self.anchors_[seen].mean(axis=0)).T)
        wanted = one_hot(target, count)[:, seen] - 1 / len(seen)
        inverse = np.linalg.inv(self._matrix(rows, target))
        duals = [inverse @ (wanted - weight * texts) for weight in WEIGHTS]
        places = np.searchsorted(seen, target)
        known = np.diag(inverse)[:, None]
        likely = [
            right(softmax(self.scale * (wanted - dual / known)), places).sum() for dual in duals
        ]
        best = int(np.argmax(np.array(likely) + PRIOR))
        self.weight_ = float(WEIGHTS[best])
        self.dual_ = np.zeros((len(rows), count))
        self.dual_[:, seen] = duals[best]

    def _probabilities(self, features: Floats) -> Floats:
        if self.weight_ is None:
            return self._zero_shot(features)
        rows = unit(features)
        texts = self.weight_ * self.unit_ * (rows @ self.anchors_.T)
        return softmax(self.scale * (self._kernel(rows) @ self.dual_ + texts))
