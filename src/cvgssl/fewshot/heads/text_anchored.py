"""Heads that know what classes are called: text embeddings of a CLIP beside few labels, or none.

Features are those of the joint space, neither centred nor whitened: texts lie elsewhere in it than
pictures do, and a mean of pictures taken from one only would mean nothing to the other.
Shape letters: N rows given to `fit`, L of them labelled, M rows to be classified, D features,
K classes.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from cvgssl.fewshot.heads.base import UNLABELLED, FewShotHead, Floats, softmax, unit
from cvgssl.fewshot.heads.nearest_mean import TipAdapter


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
