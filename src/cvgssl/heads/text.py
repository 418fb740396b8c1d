"""Heads that know what the classes are called, by the text tower of a CLIP.

Features are those of the joint space, neither centred nor whitened: texts are elsewhere in it than
pictures, so a mean of pictures means nothing to texts.

Shape letters: N rows given to `fit`, L of them labelled, M rows to be classified, D numbers of the
joint space, K classes.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from cvgssl.heads.base import (
    UNLABELLED,
    FewShotHead,
    Floats,
    SupportViews,
    softmax,
    softmax_of_cosines,
    unit,
)
from cvgssl.heads.nearest_mean import LabelCache


class TextHead(FewShotHead):
    """A head whose classes are those of `anchors` [K, D], with labels or without.

    Parameters
    ----------
    anchors : array-like of shape (n_classes, n_features)
        Text embeddings of the classes.
    classes : sequence, optional
        What the rows of `anchors` are called in y, in their order. Left out: 0 to K-1, or, where y
        has K other labels, these sorted.
    anchor_scale : float
        Factor of the cosine to the anchors before the softmax, learned by the CLIP
        (`TextAnchors.scale`).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted, with those that no row is labelled with.
    anchors_ : ndarray of shape (n_classes, n_features)
        In the order of `classes_`, scaled to length 1.
    """

    uses_views: ClassVar[bool] = False

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
    ) -> None:
        self.anchors = anchors
        self.classes = classes
        self.anchor_scale = anchor_scale

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike | None = None,
        views: SupportViews | None = None,  # noqa: ARG002
    ) -> Self:
        """Fit to rows X [N, D]; y [N] has -1, or is left out, where nothing is labelled.

        views: are not looked at.

        Raises ValueError without anchors, for anchors of another width, and for labels that have
        no anchor.
        """
        if y is None:
            features = validate_data(self, X, dtype=np.float64)
            labels: NDArray[Any] = np.full(len(features), UNLABELLED)
        else:
            features, labels = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(labels)
        labelled = labels != UNLABELLED if labels.dtype.kind in "if" else np.ones(len(labels), bool)
        anchors = self._checked(features.shape[1])
        names = self._names(labels[labelled], len(anchors))
        order = np.argsort(names, kind="stable")
        self.classes_ = names[order]
        self.anchors_ = anchors[order]
        self._fit(features[labelled], np.searchsorted(self.classes_, labels[labelled]))
        return self

    def _checked(self, width: int) -> Floats:
        if self.anchors is None:
            raise ValueError("anchors: text embeddings of the classes are needed (text_anchors)")
        anchors = np.asarray(self.anchors, dtype=np.float64)
        if anchors.ndim != 2 or anchors.shape[1] != width or not len(anchors):
            raise ValueError(
                f"anchors {anchors.shape}: one row of {width} numbers for each class is needed; "
                "features and texts must be of the same CLIP, after its projection"
            )
        return unit(anchors)

    def _names(self, labels: NDArray[Any], count: int) -> NDArray[Any]:
        """What the anchors are called, in their order."""
        labelled = np.unique(labels)
        if self.classes is not None:
            names = np.asarray(self.classes)
        elif np.isin(labelled, np.arange(count)).all():
            names = np.arange(count)
        else:
            names = labelled
        strange = labelled[~np.isin(labelled, names)]
        if len(names) != count or len(np.unique(names)) != count or len(strange):
            raise ValueError(
                f"anchors of {count} classes, called {names.tolist()}; y has {labelled.tolist()}: "
                "give `classes`, one for each row of anchors"
            )
        return names

    def _zero_shot(self, features: Floats) -> Floats:
        """Probabilities [M, K] by the texts only."""
        return softmax_of_cosines(features, self.anchors_, self.anchor_scale)


class ZeroShot(TextHead):
    """CLIP's zero-shot classifier: softmax of the scaled cosine to texts.

    No label changes it, and no picture.

    Parameters
    ----------
    anchors, classes, anchor_scale
        As of `TextHead`.

    Attributes
    ----------
    classes_, anchors_
        As of `TextHead`.

    References
    ----------
    Radford et al. 2021 (ICML), "Learning transferable visual models from natural language
    supervision".

    Examples
    --------
    >>> from cvgssl.heads.text import ZeroShot
    >>> head = ZeroShot([[1, 0, 1], [0, 1, 1]], ["dent", "pit"]).fit([[1, 0, 0]])
    >>> head.predict([[0, 0.5, 0.5]])
    array(['pit'], dtype='<U4')
    """

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        """Nothing to learn."""

    def _probabilities(self, features: Floats) -> Floats:
        return self._zero_shot(features)


class TextTip(TextHead):
    """Tip-Adapter: the labelled pictures' cache beside the texts.

    Classes without a labelled picture have only their text.

    Parameters
    ----------
    anchors, classes, anchor_scale
        As of `TextHead`.
    alpha, beta
        As of `TipAdapter`.

    Attributes
    ----------
    cache_ : LabelCache
        Labelled rows and their classes.

    References
    ----------
    Zhang et al. 2022 (ECCV), "Tip-Adapter: training-free adaption of CLIP for few-shot
    classification".

    Examples
    --------
    >>> from cvgssl.heads.text import TextTip
    >>> head = TextTip([[1, 0, 1], [0, 1, 1], [1, 1, 0]], ["dent", "pit", "scratch"])
    >>> head = head.fit([[1, 0, 0.9], [0, 1, 0.8]], ["dent", "pit"])
    >>> head.predict([[0.9, 0.1, 0.9], [0.9, 1, 0.1]])  # no picture of a scratch was labelled
    array(['dent', 'scratch'], dtype='<U7')
    """

    def __init__(
        self,
        anchors: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        anchor_scale: float = 100.0,
        alpha: float = 10.0,
        beta: float = 5.5,
    ) -> None:
        super().__init__(anchors, classes, anchor_scale)
        self.alpha = alpha
        self.beta = beta

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.cache_ = LabelCache.of(features, target, len(self.classes_))

    def _probabilities(self, features: Floats) -> Floats:
        rows = unit(features)
        texts = self.anchor_scale * (rows @ self.anchors_.T)
        return softmax(self.cache_.scores(rows, self.alpha, self.beta) + texts)
