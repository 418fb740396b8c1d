"""What is learned from train pictures and applied to all rows; several encoders side by side.

Shape letters: N pictures, D numbers of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.feature_store import Rows, Values

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
    """Subtracts what all pictures share, then scales rows to length 1.

    Fit it on unlabelled pictures of train/ only: then the result for a test picture does not
    depend on other test pictures.

    Parameters
    ----------
    mode : {"center", "none", "standardize", "whiten"}, default="center"
        center: minus the mean; standardize: also divided by each coordinate's standard deviation;
        whiten: ZCA with a shrunken covariance.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        What is subtracted.
    scale_ : ndarray of shape (n_features,) or (n_features, n_features)
        What the rest is multiplied with.

    References
    ----------
    Wang et al. 2019, "SimpleShot: revisiting nearest-neighbor classification for few-shot
    learning".
    Ledoit & Wolf 2004 (Journal of Multivariate Analysis 88), "A well-conditioned estimator for
    large-dimensional covariance matrices".

    Examples
    --------
    >>> from cvgssl.features.preparation import Preparation
    >>> Preparation("center").fit([[0, 0], [2, 2]]).transform([[4, 1]])
    array([[1., 0.]])
    """

    def __init__(self, mode: Mode = "center") -> None:
        self.mode = mode

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803, ARG002
        """Learn mean and scale from rows X [N, D]; labels are not looked at."""
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        width = rows.shape[1]
        self.mean_ = np.zeros(width) if self.mode == "none" else rows.mean(axis=0)
        if self.mode == "standardize":
            deviation = rows.std(axis=0)
            self.scale_ = 1 / np.maximum(deviation, LEAST * max(deviation.max(), LEAST))
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


@dataclass(frozen=True)
class JointEmbedding:
    """How parts (encoders, layers) are put side by side: what was learned, one for each part.

    Each part is standardized and brought to length 1; squared distances then add up by weight. All
    parts of a picture together have length 1.
    """

    preparations: tuple[Preparation, ...]
    factors: tuple[np.float32, ...]

    @classmethod
    def fit(cls, parts: Sequence[Values], weights: Sequence[float], train: Rows) -> Self:
        """Learn from the rows `train` of parts [N, D_t] with their weights."""
        shares = np.sqrt(np.array(weights) / sum(weights))
        return cls(
            tuple(fit_preparation(part, "standardize", train) for part in parts),
            tuple(np.float32(factor) for factor in shares),
        )

    def transform(self, parts: Sequence[Values]) -> Values:
        """Parts [M, D_t] of any pictures as one float32 [M, sum of D_t]."""
        joint = np.empty((len(parts[0]), sum(part.shape[1] for part in parts)), np.float32)
        self.write(parts, joint)
        return joint

    def write(self, parts: Sequence[Values], out: Values) -> None:
        """Like `transform`, into `out`, float32 [M, sum of D_t], a few rows at a time."""
        first = 0
        for part, preparation, factor in zip(parts, self.preparations, self.factors, strict=True):
            columns = out[:, first : first + part.shape[1]]
            write_prepared(part, preparation, columns)
            columns *= factor
            first += part.shape[1]


def fit_preparation(values: Values, mode: Mode, train: Rows) -> Preparation:
    """Fitted to the rows `train` [R] of values [N, D].

    Of more than `ENOUGH` rows, some at equal intervals are used.
    """
    step = max(1, -(-len(train) // ENOUGH))
    return Preparation(mode).fit(values[train[::step]])


def write_prepared(values: Values, preparation: Preparation, out: Values) -> None:
    """Write the prepared rows of values [N, D] to `out` [N, D], a few at a time."""
    for start in range(0, len(values), CHUNK):
        rows = slice(start, start + CHUNK)
        out[rows] = preparation.transform(values[rows])
