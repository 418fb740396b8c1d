"""What is learned from train pictures and applied to all rows; several encoders side by side.

Shape letters: N pictures, D numbers of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.cache import Values, scratch

Mode = Literal["none", "center", "standardize", "whiten"]
LEAST = 1e-6  # of the largest standard deviation; a coordinate below says nothing


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [N, D] scaled to length 1; a row of zeros stays.

    Not sklearn.preprocessing.normalize: that sums in another order, and the last digits decide how
    the axes of a diffusion map are turned where its graph is in pieces. It also rejects empty
    arrays, and takes three times as long on a few class means, which some heads have many of.
    """
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = rows / np.where(length > 0, length, 1)
    return scaled


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
        return unit(rows)


CHUNK = 4096  # rows at a time
ENOUGH = 100_000  # rows to learn mean and covariance from

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Combination:
    """How parts (encoders, layers) are put side by side: what was learned, one for each part.

    Each part is standardized and brought to length 1; squared distances then add up by weight. All
    parts of a picture together have length 1.
    """

    preparations: tuple[Preparation, ...]
    factors: tuple[np.float32, ...]

    def __call__(self, found: Sequence[Values]) -> Values:
        """Parts [M, D_t] of any pictures as one float32 [M, sum of D_t]."""
        out = np.empty((len(found[0]), sum(one.shape[1] for one in found)), np.float32)
        self.write(found, out)
        return out

    def write(self, found: Sequence[Values], out: Values) -> None:
        """The same into `out`, a few rows at a time."""
        first = 0
        for one, preparation, factor in zip(found, self.preparations, self.factors, strict=True):
            place = out[:, first : first + one.shape[1]]
            transform(one, preparation, place)
            place *= factor
            first += one.shape[1]


def combination(found: Sequence[Values], weights: Sequence[float], train: Rows) -> Combination:
    """Learn from the rows `train` of parts [N, D_t] how to put them side by side."""
    share = np.sqrt(np.array(weights) / sum(weights))
    return Combination(
        tuple(learned(one, "standardize", train) for one in found),
        tuple(np.float32(factor) for factor in share),
    )


def combined(
    found: Sequence[Values], weights: Sequence[float], train: Rows, folder: Path
) -> Values:
    """Parts [N, D_t] side by side, float32 [N, sum of D_t] in a file that goes with the array."""
    joint = scratch(folder, len(found[0]), sum(one.shape[1] for one in found))
    combination(found, weights, train).write(found, joint)
    return joint


def prepared(values: Values, mode: Mode, train: Rows, out: Values) -> None:
    """Write rows of length 1 to `out`: `values`, prepared by what the rows `train` teach."""
    transform(values, learned(values, mode, train), out)


def learned(values: Values, mode: Mode, train: Rows) -> Preparation:
    """Fitted to the rows `train`; of more than `ENOUGH` to some, evenly spread."""
    step = max(1, -(-len(train) // ENOUGH))
    return Preparation(mode).fit(values[train[::step]])


def transform(values: Values, preparation: Preparation, out: Values) -> None:
    """Write the prepared rows to `out`, a few at a time."""
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = preparation.transform(values[part])
