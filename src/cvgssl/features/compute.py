"""Pictures through encoders, a few at a time, into their stores: no more are ever in memory.

Imports no torch.

Shapes: B pictures of a batch, D numbers.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cvgssl.features import feature_store
from cvgssl.features.feature_store import FeatureStore
from cvgssl.features.reading import Reading
from cvgssl.images.decoding import Square
from cvgssl.runtime.errors import UserError


class Embedder(Protocol):
    """Encoders that one run of a network is enough for."""

    @property
    def names(self) -> Sequence[str]:
        """Of the encoders, for messages."""

    def __call__(self, squares: Sequence[Square], /) -> Sequence[NDArray[np.float32]]:
        """Embeddings of readable squares by each encoder, float32 [B, D]."""


def compute(
    embedder: Embedder,
    precision: str,
    reading: Reading,
    stores: Sequence[FeatureStore],
    advance: Callable[[int], None],
) -> None:
    """Embed the files and keep the result in the encoders' `stores`, block by block.

    `reading` then says which were not readable. Raises UserError for numbers that are not finite.
    """
    squares: list[Square] = []  # without their pixels
    values: list[Sequence[NDArray[np.float32]]] = []  # of each batch, by each encoder

    def keep() -> None:
        digests = [square.digest for square in squares]
        brightest = [square.brightest for square in squares]
        for store, blocks in zip(stores, zip(*values, strict=True), strict=True):
            store.add(digests, np.concatenate(blocks), brightest)
        squares.clear()
        values.clear()

    for batch in reading.batches(advance):
        (shown,) = batch.squares
        values.append(embedder(shown))
        squares += [Square(square.digest, brightest=square.brightest) for square in shown]
        for name, rows in zip(embedder.names, values[-1], strict=True):
            _check_finite(name, rows, precision)
        if len(squares) >= feature_store.BLOCK:
            keep()
    if squares:
        keep()


def _check_finite(name: str, values: NDArray[np.float32], precision: str) -> None:
    if not np.isfinite(values).all():
        remedy = "its file is damaged" if precision == "fp32" else "use --precision fp32"
        raise UserError(f"{name}: gives numbers that are not finite; {remedy}")
