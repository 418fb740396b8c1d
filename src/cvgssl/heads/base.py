"""What all few-shot heads share: scikit-learn classifiers on features, -1 for unlabelled rows.

Shape letters: N rows given to `fit`, L of them labelled, M rows to be classified, D features,
K classes.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax as softmax_of
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.mirrors import SupportViews as SupportViews
from cvgssl.features.preparation import unit as unit
from cvgssl.features.table import UNLABELLED as UNLABELLED

Floats = NDArray[np.float64]


class FewShotHead(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A classifier on features; subclasses give `_fit` and `_probabilities`.

    Attributes
    ----------
    uses_unlabelled : bool
        Of the class: whether rows with y = -1 change the result. Other heads never see them.
    uses_views : bool
        Of the class: whether it looks at `views` at all.
    classes_ : ndarray of shape (n_classes,)
        The labels seen, sorted.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Of heads that use unlabelled rows: probabilities of the rows of `fit`.
    transduction_ : ndarray of shape (n_samples,)
        Of heads that use unlabelled rows: the class of each row of `fit`.
    """

    uses_unlabelled: ClassVar[bool] = False
    uses_views: ClassVar[bool] = True

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        views: SupportViews | None = None,
    ) -> Self:
        """Fit to rows X [N, D] with labels y [N]; an integer label -1 says "not labelled".

        views: of labelled pictures. Heads that use no unlabelled rows learn from them as from
        further pictures with the same label; a map of all rows is not made of them.
        Raises ValueError for other shapes, NaN or infinite values, or without a labelled row.
        """
        features, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        labelled = np.ones(len(labels), dtype=bool)
        if labels.dtype.kind in "if":
            labelled = labels != UNLABELLED
        if not labelled.any():
            raise ValueError("y labels no row: all are -1")
        self.classes_, codes = np.unique(labels[labelled], return_inverse=True)
        target = np.full(len(labels), UNLABELLED, dtype=np.int64)
        target[labelled] = codes
        self._fit_viewed(features, target, views)
        return self

    def _fit_viewed(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        """What `fit` does with rows and views."""
        if not self.uses_unlabelled:
            features, target = labelled_rows(features, target, views)
        self._fit(features, target)

    def predict_proba(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Probabilities [M, K] of the classes, each row independently (inductive)."""
        return self._probabilities(self._checked_rows(X))

    def _checked_rows(self, X: ArrayLike) -> Floats:  # noqa: N803
        check_is_fitted(self)
        features: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        return features

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each row [M], each row independently (inductive)."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return predicted

    @property
    def transduction_(self) -> NDArray[Any]:
        """The class of each row of `fit` [N], decided for all of them together."""
        predicted: NDArray[Any] = self.classes_[self.label_distributions_.argmax(axis=1)]
        return predicted

    @abstractmethod
    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        """Learn from rows [N, D] and target [N], 0..K-1 or -1."""

    @abstractmethod
    def _probabilities(self, features: Floats) -> Floats:
        """Probabilities [M, K] of rows [M, D] that were checked.

        Heads of heads call it, too: checking takes longer than the answer where rows are few.
        """


class HeadOfHeads(FewShotHead):
    """A head that fits others; subclasses give `_fit_viewed` and hand the views on."""

    uses_unlabelled = True

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self._fit_viewed(features, target, None)

    @abstractmethod
    def _fit_viewed(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        """Learn from rows [N, D], target [N], 0..K-1 or -1, and views of labelled rows."""


def takes_views(head: type[FewShotHead]) -> bool:
    """Whether views of labelled rows change what a head learns."""
    return head.uses_views and (not head.uses_unlabelled or issubclass(head, HeadOfHeads))


def labelled_rows(
    features: Floats, target: NDArray[np.int64], views: SupportViews | None
) -> tuple[Floats, NDArray[np.int64]]:
    """Rows [L, D] that have a label, below them their views, and their classes [L]."""
    labelled = target >= 0
    rows, labels = features[labelled], target[labelled]
    if views is None:
        return rows, labels
    used = labelled[views.of]
    return (
        np.concatenate([rows, views.values[used]]),
        np.concatenate([labels, target[views.of[used]]]),
    )


def softmax(scores: Floats) -> Floats:
    """Softmax over the last axis of scores [..., K]; the same shape, 0..1."""
    probabilities: Floats = softmax_of(scores, axis=-1)
    return probabilities


def one_hot(target: NDArray[np.int64], classes: int) -> Floats:
    """Rows [N, K] with a 1 at the target; rows of target -1 are zero."""
    rows: Floats = (target[:, None] == np.arange(classes)).astype(np.float64)
    return rows


def inner_products(rows: Floats, means: Floats) -> Floats:
    """Inner products [N, K] of rows [N, D] and means [K, D].

    A class's values are side by side in memory: sums over a few classes are several times faster.
    """
    products: Floats = (means @ rows.T).T
    return products


def softmax_of_cosines(features: Floats, means: Floats, scale: float) -> Floats:
    """Softmax [M, K] of scale * cosine of features [M, D] to means [K, D] of length 1."""
    return softmax(scale * (unit(features) @ means.T))


def class_means(features: Floats, weight: Floats) -> Floats:
    """Means [K, D] of rows [N, D] weighted by [N, K]."""
    total = weight.sum(axis=0)[:, None]
    means: Floats = weight.T @ features / np.where(total > 0, total, 1)
    return means
