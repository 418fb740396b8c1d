"""Pictures through encoders, a few at a time, into their stores: no more are ever in memory.

Shapes: B pictures of a batch, D numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.features import feature_store
from cvgssl.features.encoder import Encoder, JointEncoder
from cvgssl.features.feature_store import FeatureStore
from cvgssl.features.reading import Reading, stacked
from cvgssl.images.decoding import Square
from cvgssl.runtime.errors import UserError


def compute(
    joint: JointEncoder,
    reading: Reading,
    stores: Sequence[FeatureStore],
    accelerator: Accelerator,
    advance: Callable[[int], None],
) -> None:
    """Embed the files and keep the result in the members' `stores`, block by block.

    `reading` then says which were not readable. Raises UserError for numbers that are not finite.
    """
    joint = joint.to(accelerator.device)
    joint.remember()  # for `predict`, which then needs no torch
    squares: list[Square] = []  # without their pixels
    values: list[list[NDArray[np.float32]]] = []  # of each batch, by each member

    def keep() -> None:
        digests = [square.digest for square in squares]
        brightest = [square.brightest for square in squares]
        for store, blocks in zip(stores, zip(*values, strict=True), strict=True):
            store.add(digests, np.concatenate(blocks), brightest)
        squares.clear()
        values.clear()

    for batch in reading.batches(advance):
        (shown,) = batch.squares
        values.append(embed_squares(joint, shown, accelerator))
        squares += [Square(square.digest, brightest=square.brightest) for square in shown]
        for encoder, rows in zip(joint.members, values[-1], strict=True):
            _check_finite(encoder, rows)
        if len(squares) >= feature_store.BLOCK:
            keep()
    if squares:
        keep()


def embed_squares(
    joint: JointEncoder, squares: Sequence[Square], accelerator: Accelerator
) -> list[NDArray[np.float32]]:
    """Embeddings of readable squares by each member, float32 [B, D]."""
    pixels = torch.from_numpy(stacked(squares))
    with accelerator.autocast():
        embedded = joint(pixels.to(accelerator.device))
    return [values.float().cpu().numpy() for values in embedded]


def _check_finite(encoder: Encoder, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        remedy = "its file is damaged"
        if encoder.config.precision != "fp32":
            remedy = "use --precision fp32"
        raise UserError(f"{encoder.name}: gives numbers that are not finite; {remedy}")
