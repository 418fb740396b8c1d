"""What is learned from train pictures and applied to all rows; several encoders side by side.

Shape letters: N pictures, D numbers of an embedding.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.preparation_modes import PreparationMode

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


class LearnedScale(NamedTuple):
    """Of one block of an embedding: what is subtracted [W], and what the rest is multiplied with.

    scale: [W], or [W, W] where coordinates are mixed. root: whether square roots are taken first.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    root: bool = False


class Preparation(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Takes out what all pictures share, balances coordinates, scales rows to length 1.

    Fit it on unlabelled pictures of train/ only: then the result for a test picture does not
    depend on other test pictures.

    The default is the square root of parts without negative numbers, then minus the mean, divided
    by a shrunken standard deviation. Activations after a ReLU are skewed: few large ones decide all
    distances, and the square root gives the others a say. Plain standardization goes too far where
    most pictures look alike (good parts): activations that hardly occur among them have a standard
    deviation near 0, and those of another picture are blown up until nothing else counts. So the
    mean variance of all coordinates is added to each one's.

    Parameters
    ----------
    mode : {"power", "center", "none", "standardize", "whiten"}, default="power"
        power: as above; center: minus the mean; standardize: also divided by each coordinate's
        standard deviation; whiten: ZCA with a shrunken covariance; none: only scaled to length 1.
    blocks : sequence of (width, weight), default=()
        Of an embedding that consists of several (encoders, layers, ways of pooling). Each is
        prepared by itself and brought to length 1; squared distances then add up by weight.

    Attributes
    ----------
    learned_ : list of LearnedScale
        Mean and scale of each block.

    References
    ----------
    Perronnin, Sanchez & Mensink 2010 (ECCV), "Improving the Fisher kernel for large-scale image
    classification": the square root.
    Hu, Gripon & Pateux 2021 (ICANN), "Leveraging the feature distribution in transfer-based
    few-shot learning": the same for few labels.
    Wang et al. 2019, "SimpleShot: revisiting nearest-neighbor classification for few-shot
    learning": center.
    Ledoit & Wolf 2004 (Journal of Multivariate Analysis 88), "A well-conditioned estimator for
    large-dimensional covariance matrices": whiten.

    Examples
    --------
    >>> from cvgssl.features.preparation import Preparation
    >>> Preparation("center").fit([[0, 0], [2, 2]]).transform([[4, 1]])
    array([[1., 0.]])
    >>> Preparation().fit([[0, 0], [4, 4]]).transform([[9, 1]])
    array([[1., 0.]])
    """

    def __init__(
        self, mode: PreparationMode = "power", blocks: Sequence[tuple[int, float]] = ()
    ) -> None:
        self.mode = mode
        self.blocks = blocks

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803, ARG002
        """Learn mean and scale from rows X [N, D]; labels are not looked at."""
        if self.mode not in get_args(PreparationMode):
            raise ValueError(f"mode {self.mode!r}: one of {', '.join(get_args(PreparationMode))}")
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        if self.blocks and sum(width for width, _ in self.blocks) != rows.shape[1]:
            raise ValueError(f"blocks {self.blocks!r} are not those of {rows.shape[1]} numbers")
        self.learned_ = [_learn(block, self.mode) for block in self._split(rows)]
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Rows [N, D] of length 1 (a row of zeros stays)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        prepared = [
            _apply(block, learned)
            for block, learned in zip(self._split(rows), self.learned_, strict=True)
        ]
        if len(prepared) == 1:
            return prepared[0]
        total = sum(weight for _, weight in self.blocks)
        shares = [(weight / total) ** 0.5 for _, weight in self.blocks]
        return np.hstack([block * share for block, share in zip(prepared, shares, strict=True)])

    def _split(self, rows: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        borders = np.cumsum([width for width, _ in self.blocks[:-1]], dtype=np.intp)
        return np.split(rows, borders, axis=1)


def _learn(rows: NDArray[np.floating], mode: PreparationMode) -> LearnedScale:
    """Of one block [N, W]."""
    width = rows.shape[1]
    if mode == "none":
        return LearnedScale(np.zeros(width), np.ones(width))
    if mode == "power":
        root = bool((rows >= 0).all())
        rows = np.sqrt(rows) if root else rows
        variance = rows.var(axis=0, dtype=np.float64)
        deviation = np.sqrt(variance + variance.mean())
        scale = 1 / deviation if deviation.any() else np.ones(width)
        return LearnedScale(rows.mean(axis=0, dtype=np.float64), scale, root)
    mean = rows.mean(axis=0)
    if mode == "center":
        return LearnedScale(mean, np.ones(width))
    if mode == "standardize":
        deviation = rows.std(axis=0)
        return LearnedScale(mean, 1 / np.maximum(deviation, LEAST * max(deviation.max(), LEAST)))
    covariance, _ = ledoit_wolf(rows - mean, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, LEAST**2 * max(values[-1], LEAST))
    return LearnedScale(mean, (vectors / np.sqrt(values)) @ vectors.T)


def _apply(rows: NDArray[np.floating], learned: LearnedScale) -> NDArray[np.float64]:
    if learned.root:  # another picture may have small negative numbers where none was seen
        rows = np.sign(rows) * np.sqrt(np.abs(rows))
    rows = rows - learned.mean
    return unit(rows @ learned.scale if learned.scale.ndim == 2 else rows * learned.scale)
