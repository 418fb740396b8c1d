"""Heads with a linear (or kernel) function for each class, fitted to the labelled pictures."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import LogisticRegression

from cvgssl.heads.base import FewShotHead, Floats, class_means, one_hot, softmax, unit


def class_balance(target: NDArray[np.int64]) -> Floats:
    """Weights [L] that give every class the same total; their mean is 1."""
    counts = np.bincount(target)
    weight: Floats = len(target) / (len(counts) * counts[target])
    return weight


class Logistic(FewShotHead):
    """Multinomial logistic regression on rows of length 1 with a fixed ridge, no validation.

    strength: C of scikit-learn, one over the ridge. Classes weigh the same whatever their shots.
    """

    def __init__(self, strength: float = 10.0) -> None:
        self.strength = strength

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        rows = unit(features)
        # the weights lie in the span of the labelled rows, which are few
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
        result: Floats = self.linear_.predict_proba(unit(features) @ self.basis_)
        return result


class KernelRidge(FewShotHead):
    """Ridge regression of one-hot labels in the span of a kernel, solved over labelled rows.

    kernel: linear, or gauss, exp(-|a - b|^2 / width) with the median squared distance among the
        labelled rows as width.
    ridge: added to the diagonal of the kernel matrix.
    scale: probabilities are the softmax of scale * score; the default makes pictures held out of
        train/ likeliest (recipes/scale_folds.py).
    """

    def __init__(self, kernel: str = "gauss", ridge: float = 0.1, scale: float = 12.0) -> None:
        self.kernel = kernel
        self.ridge = ridge
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        matrix = self._matrix(unit(features), target)
        wanted = one_hot(target, len(self.classes_))
        self.mean_ = np.full(len(self.classes_), 1 / len(self.classes_))
        self.dual_ = cho_solve(cho_factor(matrix), wanted - self.mean_)

    def _matrix(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        """The matrix [L, L] to be solved for labelled rows [L, D] of length 1; keeps the rows."""
        if self.kernel not in ("linear", "gauss"):
            raise ValueError(f"kernel {self.kernel!r}: one of linear, gauss")
        self.rows_ = rows
        squared = 2 - 2 * rows @ rows.T
        apart = squared[np.triu_indices(len(squared), 1)]
        self.width_ = max(float(np.median(apart)), 1e-6) if len(apart) else 1.0
        return self._kernel(rows) + np.diag(self.ridge / class_balance(target))

    def _kernel(self, rows: Floats) -> Floats:
        cosine: Floats = rows @ self.rows_.T
        return cosine if self.kernel == "linear" else np.exp((2 * cosine - 2) / self.width_)

    def _probabilities(self, features: Floats) -> Floats:
        return softmax(self.scale * (self._kernel(unit(features)) @ self.dual_ + self.mean_))


class Ridge(KernelRidge):
    """Ridge regression of one-hot labels (R2-D2's base learner, Bertinetto et al. 2019)."""

    def __init__(self, kernel: str = "linear", ridge: float = 1.0, scale: float = 15.0) -> None:
        super().__init__(kernel, ridge, scale)


class Discriminant(FewShotHead):
    """Linear discriminant analysis with a covariance shrunken by Ledoit and Wolf (2004).

    One covariance within classes for all, equal priors. With one picture per class nothing is
    known of it and the head is the nearest class mean. scale: of the log densities, whose size is
    overstated in many dimensions.
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
