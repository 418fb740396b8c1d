"""What `data check` measures of every file, in one pass over its bytes."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.duplicates import perceptual_hash, thumbnail
from cvgssl.images.reader import UnreadablePicture, decode, picture_format, read_bytes
from cvgssl.runtime.progress import progress


@dataclass(frozen=True)
class Facts:
    """Of one readable file.

    kind: format by content, such as PNG. size: (height, width). gray: one channel.
    content: SHA-256 of the decoded pixels, the same for a BMP and its PNG copy.
    hash: 64-bit perceptual hash. thumbnail: uint8 [64, 64].
    brightest: brightest sample of a file that may use fewer bits than it has, else None.
    """

    kind: str
    size: tuple[int, int]
    gray: bool
    content: str
    hash: int
    thumbnail: NDArray[np.uint8]
    brightest: int | None


def measure(path: Path) -> Facts | str:
    """Read and decode one file; a text says why it cannot be read."""
    try:
        kind = picture_format(path)
        decoded = decode(read_bytes(path), path)
    except UnreadablePicture as error:
        return error.reason
    pixels = np.ascontiguousarray(decoded.pixels)
    return Facts(
        kind=kind,
        size=(pixels.shape[0], pixels.shape[1]),
        gray=pixels.ndim == 2,
        content=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        hash=perceptual_hash(pixels),
        thumbnail=thumbnail(pixels),
        brightest=decoded.brightest,
    )


def measure_all(paths: Sequence[Path]) -> list[Facts | str]:
    """Facts of every file or why it cannot be read, in order; files are read in threads."""
    facts: list[Facts | str] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress("checking", len(paths)) as advance,
    ):
        for fact in pool.map(measure, paths):
            facts.append(fact)
            advance(1)
    return facts
