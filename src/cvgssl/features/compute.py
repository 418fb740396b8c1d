"""Pictures through an encoder, a few at a time, into the store: no more are ever in memory.

Shapes: B pictures of a batch, D numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.features import feature_store
from cvgssl.features.encoder import Encoder
from cvgssl.features.feature_store import FeatureStore
from cvgssl.features.reading import Reading, stacked
from cvgssl.images.decoding import Square
from cvgssl.runtime.errors import UserError


def compute(
    encoder: Encoder,
    reading: Reading,
    store: FeatureStore,
    accelerator: Accelerator,
    advance: Callable[[int], None],
) -> None:
    """Embed the files and keep the result in `store`, block by block.

    `reading` then says which were not readable. Raises UserError for numbers that are not finite.
    """
    encoder = encoder.to(accelerator.device)
    squares: list[Square] = []  # without their pixels
    values: list[NDArray[np.float32]] = []

    def keep() -> None:
        brightest = [square.brightest for square in squares]
        store.add([square.digest for square in squares], np.concatenate(values), brightest)
        squares.clear()
        values.clear()

    for batch in reading.batches(advance):
        (shown,) = batch.squares
        values.append(embed_squares(encoder, shown, accelerator))
        squares += [Square(square.digest, brightest=square.brightest) for square in shown]
        _check_finite(encoder, values[-1])
        if len(squares) >= feature_store.BLOCK:
            keep()
    if squares:
        keep()


def embed_squares(
    encoder: Encoder, squares: Sequence[Square], accelerator: Accelerator
) -> NDArray[np.float32]:
    """Embeddings of readable squares, float32 [B, D]."""
    pixels = torch.from_numpy(stacked(squares))
    with accelerator.autocast():
        embedded = encoder(pixels.to(accelerator.device))
    rows: NDArray[np.float32] = embedded.float().cpu().numpy()
    return rows


def _check_finite(encoder: Encoder, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        remedy = "its file is damaged"
        if encoder.config.precision != "fp32":
            remedy = "use --precision fp32"
        raise UserError(f"{encoder.frozen.name}: gives numbers that are not finite; {remedy}")
