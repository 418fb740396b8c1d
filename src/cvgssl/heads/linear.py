"""Heads with a linear (or kernel) function for each class, fitted to the labelled pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.kernel_ridge import KernelRidge as KernelRidgeRegression
from sklearn.linear_model import LogisticRegression

from cvgssl.heads.base import FewShotHead, Floats, class_means, one_hot, softmax, unit


def class_balance(target: NDArray[np.int64]) -> Floats:
    """Weights [L] that give every class the same total; their mean is 1."""
    counts = np.bincount(target)
    weight: Floats = len(target) / (len(counts) * counts[target])
    return weight


class Logistic(FewShotHead):
    """Multinomial logistic regression on rows of length 1 with a fixed ridge, no validation.

    Classes weigh the same whatever their number of labels.

    Parameters
    ----------
    strength : float, default=10.0
        C of scikit-learn, one over the ridge.

    Attributes
    ----------
    linear_ : LogisticRegression or None
        In the span of the labelled rows; None with a single class.
    basis_ : ndarray of shape (n_features, n_directions)
        Orthonormal, of that span.

    References
    ----------
    Tian, Wang, Krishnan, Tenenbaum & Isola 2020 (ECCV), "Rethinking few-shot image classification:
    a good embedding is all you need?"

    Examples
    --------
    >>> from cvgssl.heads.linear import Logistic
    >>> Logistic().fit([[1, 0], [0, 1]], ["dent", "pit"]).predict([[0.9, 0.2]])
    array(['dent'], dtype='<U4')
    """

    def __init__(self, strength: float = 10.0) -> None:
        self.strength = strength

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        rows = unit(features)
        # the coefficients are in the span of the labelled rows, which are few
        _, lengths, basis = np.linalg.svd(rows, full_matrices=False)
        self.basis_ = basis[lengths > 1e-9 * max(lengths[0], 1e-9)].T
        if len(self.classes_) == 1:
            self.linear_ = None
            return
        self.linear_ = LogisticRegression(C=self.strength, max_iter=200, tol=1e-3)
        self.linear_.fit(rows @ self.basis_, target, sample_weight=class_balance(target))

    def _probabilities(self, features: Floats) -> Floats:
        if self.linear_ is None:
            return np.ones((len(features), 1))
        probabilities: Floats = self.linear_.predict_proba(unit(features) @ self.basis_)
        return probabilities


def median_kernel(rows: Floats, kernel: str) -> dict[str, Any]:
    """Kernel and gamma for scikit-learn: linear, or gauss with the rows' median squared distance.

    rows: [L, D] of length 1. Raises ValueError for another kernel.
    """
    if kernel == "linear":
        return {"kernel": "linear"}
    if kernel != "gauss":
        raise ValueError(f"kernel {kernel!r}: one of linear, gauss")
    squared = 2 - 2 * rows @ rows.T
    distances = squared[np.triu_indices(len(squared), 1)]
    width = max(float(np.median(distances)), 1e-6) if len(distances) else 1.0
    return {"kernel": "rbf", "gamma": 1 / width}


def regress_labels(
    rows: Floats, target: NDArray[np.int64], values: Floats, ridge: float, kernel: str = "gauss"
) -> KernelRidgeRegression:
    """Kernel ridge regression of values [L, K] on rows [L, D] of length 1, classes weighing alike.

    target: classes [L]. The regression of `KernelRidge` and of the out-of-distribution score.
    """
    regression = KernelRidgeRegression(alpha=ridge, **median_kernel(rows, kernel))
    return regression.fit(rows, values, sample_weight=class_balance(target))


class KernelRidge(FewShotHead):
    """Kernel ridge regression of one-hot labels, on rows of length 1.

    Parameters
    ----------
    kernel : {"gauss", "linear"}, default="gauss"
        gauss: exp(-|a - b|^2 / width) with the median squared distance among the labelled rows as
        width.
    ridge : float, default=0.1
        Added to the diagonal of the kernel matrix, classes weighing the same.
    scale : float, default=12.0
        Probabilities are the softmax of scale * score. The default is the one with the smallest
        log loss on pictures held out of train/ (recipes/scale_folds.py).

    Attributes
    ----------
    regression_ : sklearn.kernel_ridge.KernelRidge
        Of one-hot labels less their mean.
    mean_ : ndarray of shape (n_classes,)
        One over the number of classes.

    References
    ----------
    Saunders, Gammerman & Vovk 1998 (ICML), "Ridge regression learning algorithm in dual variables".

    Examples
    --------
    >>> from cvgssl.heads.linear import KernelRidge
    >>> head = KernelRidge().fit([[1, 0], [0, 1]], ["dent", "pit"])
    >>> head.predict_proba([[0.9, 0.2]]).round(2)
    array([[1., 0.]])
    """

    def __init__(self, kernel: str = "gauss", ridge: float = 0.1, scale: float = 12.0) -> None:
        self.kernel = kernel
        self.ridge = ridge
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        values = one_hot(target, len(self.classes_))
        self.mean_ = np.full(len(self.classes_), 1 / len(self.classes_))
        self.regression_ = regress_labels(
            unit(features), target, values - self.mean_, self.ridge, self.kernel
        )

    def _probabilities(self, features: Floats) -> Floats:
        return softmax(self.scale * (self.regression_.predict(unit(features)) + self.mean_))


class Ridge(KernelRidge):
    """Ridge regression of one-hot labels: `KernelRidge` with other defaults.

    Parameters
    ----------
    kernel : {"linear", "gauss"}, default="linear"
        As of `KernelRidge`.
    ridge : float, default=1.0
        Added to the diagonal of the kernel matrix, classes weighing the same.
    scale : float, default=15.0
        Probabilities are the softmax of scale * score.

    Attributes
    ----------
    regression_ : sklearn.kernel_ridge.KernelRidge
        Of one-hot labels less their mean.
    mean_ : ndarray of shape (n_classes,)
        One over the number of classes.

    References
    ----------
    Bertinetto, Henriques, Torr & Vedaldi 2019 (ICLR), "Meta-learning with differentiable
    closed-form solvers": the base learner of R2-D2.

    Examples
    --------
    >>> from cvgssl.heads.linear import Ridge
    >>> Ridge().fit([[1, 0], [0, 1]], ["dent", "pit"]).predict([[0.9, 0.2]])
    array(['dent'], dtype='<U4')
    """

    def __init__(self, kernel: str = "linear", ridge: float = 1.0, scale: float = 15.0) -> None:
        super().__init__(kernel, ridge, scale)


class Discriminant(FewShotHead):
    """Linear discriminant analysis with equal priors and a shrunken covariance.

    The covariance is that of all classes together. With a single labelled picture per class
    nothing is known of it, and the head is the nearest class mean.

    Parameters
    ----------
    scale : float, default=0.1
        Of the log densities, which are too large in many dimensions.

    Attributes
    ----------
    means_ : ndarray of shape (n_classes, n_features)
        Of the labelled rows, scaled to length 1 before.
    axes_ : ndarray of shape (n_axes, n_features)
        Orthonormal, of the span of the rows' deviations from their class means.
    kept_ : ndarray of shape (n_axes,)
        Shrunken variances along the axes, less `level_`.
    level_ : float
        Variance in all other directions.

    References
    ----------
    Ledoit & Wolf 2004 (Journal of Multivariate Analysis 88), "A well-conditioned estimator for
    large-dimensional covariance matrices".

    Examples
    --------
    The first number varies a lot within a class, so it says little; the nearest mean is misled:

    >>> import numpy as np
    >>> from cvgssl.heads.linear import Discriminant
    >>> from cvgssl.heads.nearest_mean import NearestMean
    >>> rows = np.array([[0, 1, 9], [4, 1, 8], [0, 3, 9], [-4, 3, 8]])
    >>> labels = ["dent", "dent", "pit", "pit"]
    >>> for head in (NearestMean(), Discriminant()):
    ...     print(head.fit(rows, labels).predict([[-3, 1, 8]]))
    ['pit']
    ['dent']
    """

    def __init__(self, scale: float = 0.1) -> None:
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        rows = unit(features)
        weight = one_hot(target, len(self.classes_))
        self.means_ = class_means(rows, weight)
        residual = rows - self.means_[target]
        free = max(len(rows) - len(self.classes_), 1)
        variance = float((residual**2).sum()) / (free * rows.shape[1])
        if variance < 1e-12:
            self.kept_, self.axes_, self.level_ = np.zeros(0), np.zeros((0, rows.shape[1])), 0.1
            return
        shrinkage = float(ledoit_wolf_shrinkage(residual, assume_centered=True))
        _, lengths, axes = np.linalg.svd(residual, full_matrices=False)
        self.level_ = max(shrinkage, 1e-3) * variance
        self.axes_ = axes
        self.kept_ = (1 - shrinkage) * lengths**2 / free

    def _probabilities(self, features: Floats) -> Floats:
        rows = unit(features)
        whole = -2 * rows @ self.means_.T + (self.means_**2).sum(axis=1)
        inside, centres = rows @ self.axes_.T, self.means_ @ self.axes_.T
        # 1 / (kept + level) along the axes, 1 / level elsewhere
        less = 1 / (self.kept_ + self.level_) - 1 / self.level_
        along = -2 * (inside * less) @ centres.T + (centres**2 * less).sum(axis=1)
        return softmax(-0.5 * self.scale * (whole / self.level_ + along))
