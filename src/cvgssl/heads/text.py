"""Heads that know what the classes are called, by the text tower of a CLIP.

Features are those of the joint space, neither centred nor whitened: texts lie elsewhere in it than
pictures do, and a mean of pictures taken from one only would mean nothing to the other.
Shape letters: N rows given to `fit`, L of them labelled, M rows to be classified, D features,
K classes.

Shape letters: N pictures, K classes, D numbers of the joint space.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from cvgssl.heads.base import UNLABELLED, FewShotHead, Floats, one_hot, softmax, unit
from cvgssl.heads.calibration import right
from cvgssl.heads.linear import KernelRidge
from cvgssl.heads.nearest_mean import TipAdapter


class TextHead(FewShotHead):
    """A head whose classes are those of `anchors` [K, D], with labels or without.

    classes: what the rows of `anchors` are called in y, in their order; left out: 0 to K-1, or,
        where y has K other labels, these sorted.
    anchor_scale: what the cosine to the anchors is multiplied with before the softmax; the CLIP
        learned it (`TextAnchors.scale`).
    classes_: sorted [K]; also those that no row is labelled with.
    """

    anchors: ArrayLike | None
    classes: Sequence[Any] | None
    anchor_scale: float

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:  # noqa: N803
        """Fit to rows X [N, D]; y [N] has -1, or is left out, where nothing is labelled.

        Raises ValueError without anchors, for anchors of another width, and for labels that have
        no anchor.
        """
        if y is None:
            features = validate_data(self, X, dtype=np.float64)
            labels: NDArray[Any] = np.full(len(features), UNLABELLED)
        else:
            features, labels = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(labels)
        known = labels != UNLABELLED if labels.dtype.kind in "if" else np.ones(len(labels), bool)
        anchors = self._checked(features.shape[1])
        names = self._names(labels[known], len(anchors))
        order = np.argsort(names, kind="stable")
        self.classes_ = names[order]
        self.anchors_ = anchors[order]
        self._fit(features[known], np.searchsorted(self.classes_, labels[known]))
        return self

    def _checked(self, width: int) -> Floats:
        if self.anchors is None:
            raise ValueError("anchors: text embeddings of the classes are needed (text_anchors)")
        anchors = np.asarray(self.anchors, dtype=np.float64)
        if anchors.ndim != 2 or anchors.shape[1] != width or not len(anchors):
            raise ValueError(
                f"anchors {anchors.shape}: one row of {width} numbers for each class is needed; "
                "features and texts must be of the same CLIP, behind its projection"
            )
        return unit(anchors)

    def _names(self, seen: NDArray[Any], count: int) -> NDArray[Any]:
        """What the anchors are called, in their order."""
        found = np.unique(seen)
        if self.classes is not None:
            names = np.asarray(self.classes)
        elif np.isin(found, np.arange(count)).all():
            names = np.arange(count)
        else:
            names = found
        strange = found[~np.isin(found, names)]
        if len(names) != count or len(np.unique(names)) != count or len(strange):
            raise ValueError(
                f"anchors of {count} classes, called {names.tolist()}; y has {found.tolist()}: "
                "give `classes`, one for each row of anchors"
            )
        return names

    def _zero_shot(self, features: Floats) -> Floats:
        """Probabilities [M, K] by the texts alone."""
        return softmax(self.anchor_scale * (unit(features) @ self.anchors_.T))


class ZeroShot(TextHead):
    """CLIP's zero-shot classifier (Radford et al. 2021): softmax of the scaled cosine to texts.

    No label changes it, and no picture.
    """

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
    ) -> None:
        self.anchors = anchors
        self.classes = classes
        self.anchor_scale = anchor_scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        """Nothing to learn."""

    def _probabilities(self, features: Floats) -> Floats:
        return self._zero_shot(features)


class TextTip(TextHead, TipAdapter):
    """Tip-Adapter (Zhang et al. 2022): the labelled pictures' cache beside the texts.

    Parameters as of `TipAdapter`; classes without a labelled picture have their text alone.
    """

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
        alpha: float = 10.0,
        beta: float = 5.5,
    ) -> None:
        self.anchors = anchors
        self.classes = classes
        self.anchor_scale = anchor_scale
        self.alpha = alpha
        self.beta = beta

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self._remember(features, target)

    def _probabilities(self, features: Floats) -> Floats:
        rows = unit(features)
        texts = self.anchor_scale * (rows @ self.anchors_.T)
        return softmax(self._cached(rows) + texts)


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
