"""Files to squares of pixels, in threads and in order."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import UnreadablePicture, decode, read_bytes
from cvgssl.runtime.errors import UserError

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class Square:
    """What became of one file.

    digest: SHA-256 of its bytes, or a word for a file that cannot be opened.
    pixels: uint8 [1 or 3, S, S], or None with the `reason` why not.
    brightest: see `reader.Decoded`.
    """

    digest: str
    pixels: NDArray[np.uint8] | None = None
    reason: str = ""
    brightest: int | None = None


def decode_squares(paths: Sequence[Path], geometry: Geometry, workers: int = 0) -> Iterator[Square]:
    """The files' squares, in order; every file is read once, few are in memory at a time.

    workers: threads; 0: one per core.
    """
    return _in_threads(partial(_square, geometry=geometry), paths, workers)


def check_readable(reasons: Mapping[Path, str], total: int, skip_corrupt: bool) -> None:
    """Say which of `total` pictures cannot be read and why, the same way in every command.

    With `skip_corrupt` they are warnings. Raises UserError, naming all, without it and when no
    picture is left.
    """
    lines = [f"{path}: {reason}" for path, reason in reasons.items()]
    if lines and not skip_corrupt:
        lines.append(f"{len(lines)} unreadable; repair them, or leave them out by --skip-corrupt")
        raise UserError("\n".join(lines))
    if lines and len(lines) == total:
        raise UserError("\n".join([*lines, f"none of the {total} pictures is readable"]))
    for line in lines:
        log.warning("%s; left out", line)


def hash_files(paths: Sequence[Path], workers: int = 0) -> list[str]:
    """The digests that `decode_squares` would give, without decoding."""
    return list(_in_threads(_digest, paths, workers))


def _square(path: Path, geometry: Geometry) -> Square:
    try:
        data = read_bytes(path)
    except UnreadablePicture as error:
        return Square(_UNOPENED, reason=error.reason)
    digest = hashlib.sha256(data).hexdigest()
    try:
        decoded = decode(data, path, geometry.bit_depth)
        return Square(digest, fit_square(decoded.pixels, geometry), brightest=decoded.brightest)
    except UnreadablePicture as error:
        return Square(digest, reason=error.reason)
    except ValueError as error:  # does not fit the square
        return Square(digest, reason=str(error))


_UNOPENED = "unopened"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except UnreadablePicture:
        return _UNOPENED


def _in_threads(work: Callable[[Path], R], paths: Sequence[Path], workers: int) -> Iterator[R]:
    workers = workers or _cores()
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for path in paths:
            pending.append(pool.submit(work, path))
            if len(pending) > 8 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def fit_square(pixels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, 3] to uint8 [1 or 3, S, S].

    `stretch` and `crop` equal torchvision's `Resize((S, S))` and `Resize(S)` + `CenterCrop(S)` of
    the Pillow picture, pixel for pixel. Raises ValueError when `crop` would make a picture so
    thin that it exceeds Pillow's size limit on the way.
    """
    image = Image.fromarray(pixels)
    side, resample = geometry.size, _FILTERS[geometry.interpolation]
    width, height = image.size
    if geometry.fit == "stretch":
        square = image.resize((side, side), resample)
    elif geometry.fit == "crop":
        short = min(width, height)
        wide, high = int(side * width / short), int(side * height / short)
        if wide * high > (Image.MAX_IMAGE_PIXELS or wide * high):
            raise ValueError(f"too thin for --fit crop ({width} x {height}); use stretch or pad")
        left, top = round((wide - side) / 2), round((high - side) / 2)
        square = image.resize((wide, high), resample).crop((left, top, left + side, top + side))
    else:
        long = max(width, height)
        wide, high = (max(1, round(side * length / long)) for length in (width, height))
        gray = round(float(pixels.mean()))
        square = Image.new(image.mode, (side, side), gray if pixels.ndim == 2 else (gray,) * 3)
        square.paste(image.resize((wide, high), resample), ((side - wide) // 2, (side - high) // 2))
    array = np.asarray(square)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
