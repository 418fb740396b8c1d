"""Preparation of embeddings before a head: centred or whitened by unlabelled pictures, length 1.

Shape letters: N pictures, D numbers for each.
"""

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.utils.validation import check_is_fitted, validate_data

Mode = Literal["none", "center", "standardize", "whiten"]
LEAST = 1e-6  # of the largest standard deviation; a coordinate below says nothing


class Preparation(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Takes out what all pictures share, then brings rows to length 1.

    mode: none; center, minus the mean (SimpleShot, Wang et al. 2019); standardize, also divided
        by each coordinate's standard deviation; whiten, ZCA with the covariance shrunken by
        Ledoit and Wolf (2004).
    Fit it on unlabelled pictures of train/ only: then each test picture is still by itself.
    """

    def __init__(self, mode: Mode = "center") -> None:
        self.mode = mode

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803, ARG002
        """Learn mean and scale from rows X [N, D]; labels are not looked at."""
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        width = rows.shape[1]
        self.mean_ = np.zeros(width) if self.mode == "none" else rows.mean(axis=0)
        if self.mode == "standardize":
            spread = rows.std(axis=0)
            self.scale_ = 1 / np.maximum(spread, LEAST * max(spread.max(), LEAST))
        elif self.mode == "whiten":
            covariance, _ = ledoit_wolf(rows - self.mean_, assume_centered=True)
            values, vectors = np.linalg.eigh(covariance)
            values = np.maximum(values, LEAST**2 * max(values[-1], LEAST))
            self.scale_ = (vectors / np.sqrt(values)) @ vectors.T
        elif self.mode in ("none", "center"):
            self.scale_ = np.ones(width)
        else:
            raise ValueError(f"mode {self.mode!r}: one of none, center, standardize, whiten")
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Rows [N, D] of length 1 (a row of zeros stays)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False) - self.mean_
        rows = rows @ self.scale_ if self.scale_.ndim == 2 else rows * self.scale_
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        prepared: NDArray[np.float64] = rows / np.where(length > 0, length, 1)
        return prepared
