"""Pictures through an encoder, a few at a time, into the store: no more are ever in memory.

Shapes: B pictures of a batch, C channels (1 gray or 3), S side in pixels, D numbers.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.features import cache
from cvgssl.features.cache import FeatureStore
from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder import Encoder
from cvgssl.images.decoding import Square, decode_squares
from cvgssl.images.store import warn_if_dark
from cvgssl.runtime.errors import UserError


def compute(
    encoder: Encoder,
    paths: Sequence[Path],
    store: FeatureStore,
    config: EmbedConfig,
    accelerator: Accelerator,
    advance: Callable[[int], None],
) -> dict[int, str]:
    """Embed the files and keep the result in `store`, block by block; gives the unreadable ones.

    What is given: places in `paths`, and the reasons.

    Without --skip-corrupt the first unreadable file ends the embedding, not the search for more.
    Raises UserError for numbers that are not finite.
    """
    encoder = encoder.to(accelerator.device)
    unreadable: dict[int, str] = {}
    digests: list[str] = []
    values: list[NDArray[np.float32]] = []
    brightest = None
    decoded = enumerate(
        decode_squares(paths, encoder.geometry, config.workers, config.max_megapixels)
    )
    while batch := list(islice(decoded, config.batch_size)):
        unreadable |= {place: square.reason for place, square in batch if square.pixels is None}
        readable = [square for _, square in batch if square.pixels is not None]
        deep = [square.brightest for square in readable if square.brightest is not None]
        brightest = max(deep, default=brightest) if brightest is None else max([brightest, *deep])
        if readable and (config.skip_corrupt or not unreadable):
            values.append(embed_squares(encoder, readable, accelerator))
            digests += [square.digest for square in readable]
            _check_finite(encoder, values[-1], config)
        if len(digests) >= cache.BLOCK:
            store.add(digests, np.concatenate(values))
            digests, values = [], []
        advance(len(batch))
    if digests:
        store.add(digests, np.concatenate(values))
    warn_if_dark(brightest, encoder.geometry)
    return unreadable


def embed_squares(
    encoder: Encoder, squares: Sequence[Square], accelerator: Accelerator
) -> NDArray[np.float32]:
    """Embeddings of readable squares, float32 [B, D]; gray ones become colour beside coloured."""
    found = [square.pixels for square in squares if square.pixels is not None]
    shape = (max(len(pixels) for pixels in found), *found[0].shape[1:])
    pixels = np.stack([np.broadcast_to(one, shape) for one in found])
    with accelerator.autocast():
        embedded = encoder(torch.from_numpy(pixels).to(accelerator.device))
    rows: NDArray[np.float32] = embedded.float().cpu().numpy()
    return rows


def _check_finite(encoder: Encoder, values: NDArray[np.float32], config: EmbedConfig) -> None:
    if not np.isfinite(values).all():
        remedy = "use --precision fp32" if config.precision != "fp32" else "its file is damaged"
        raise UserError(f"{encoder.frozen.name}: gives numbers that are not finite; {remedy}")
