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

from cvgssl.images.bands import Opened
from cvgssl.images.geometry import Geometry, Whole
from cvgssl.images.opening import PILLOWS_LIMIT, UnusableError
from cvgssl.images.picture_options import AS_USUAL, DecodingOptions
from cvgssl.images.reader import (
    UnreadablePicture,
    decoding,
    is_gray,
    reading,
    single_if_gray,
    whole,
)
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import counted, printable

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class Square:
    """What became of one file.

    digest: SHA-256 of its bytes, or a word for a file that cannot be opened.
    pixels: uint8 [1 or 3, S, S] (of `Whole` [1 or 3, H, W]), or None with the `reason` why not.
    brightest: see `reader.Decoded`.
    """

    digest: str
    pixels: NDArray[np.uint8] | None = None
    reason: str = ""
    brightest: int | None = None


def decode_squares(
    paths: Sequence[Path],
    geometry: Geometry | Whole,
    options: DecodingOptions = AS_USUAL,
    ahead: int = 0,
) -> Iterator[Square]:
    """The files' squares, in order; every file is read once, few are in memory at a time.

    ahead: squares to have ready, beside a few, while the caller works on those that it has.
    Raises MachineError for trouble that is not of the files.
    """
    work = partial(_square, geometry=geometry, max_megapixels=options.max_megapixels)
    return _in_threads(work, paths, options.workers, ahead)


def check_readable(reasons: Mapping[Path, str], total: int, skip_corrupt: bool) -> None:
    """Say which of `total` pictures cannot be read and why, the same way in every command.

    With `skip_corrupt` they are warnings. Raises UserError, naming all, without it and when no
    picture is left.
    """
    lines = [f"{printable(str(path))}: {reason}" for path, reason in reasons.items()]
    if lines and not skip_corrupt:
        lines.append(f"{len(lines)} unreadable; repair them, or leave them out by --skip-corrupt")
        raise UserError("\n".join(lines))
    if lines and len(lines) == total:
        raise UserError("\n".join([*lines, f"none of the {total} pictures is readable"]))
    for line in lines:
        log.warning("%s; left out", line)


def left_out(unreadable: int) -> str:
    """What a summary says of the pictures that `check_readable` passed over; empty without any."""
    return f"{counted(unreadable, 'unreadable picture')} left out" if unreadable else ""


def warn_if_dark(brightest: int | None, geometry: Geometry | Whole) -> None:
    """Cameras with 10, 12 or 14 bits write 16-bit files that come out nearly black."""
    if brightest is None or brightest.bit_length() > geometry.bit_depth - 2:
        return
    depth = next(bits for bits in (8, 10, 12, 14) if brightest.bit_length() <= bits)
    log.warning(
        "the brightest value in the 16-bit pictures is %d of %d; if the camera reads fewer bits, "
        "give --bit-depth %d",
        brightest,
        2**geometry.bit_depth - 1,
        depth,
    )


def hash_files(paths: Sequence[Path], options: DecodingOptions = AS_USUAL) -> list[str]:
    """The digests that `decode_squares` would give, without decoding."""
    work = partial(_digest, max_megapixels=options.max_megapixels)
    return list(_in_threads(work, paths, options.workers))


def decode_bytes(
    data: bytes, geometry: Geometry | Whole, max_megapixels: int, name: Path
) -> Square:
    """The square of a file's bytes; `name` is for messages of trouble that is not of the file."""
    digest = hashlib.sha256(data).hexdigest()
    side = geometry.size if isinstance(geometry, Geometry) else None
    try:
        with decoding(data, name, max_megapixels, side) as picture:
            pixels, brightest = square_of_picture(picture, geometry)
    except UnreadablePicture as error:
        return Square(digest, reason=error.reason)
    return Square(digest, pixels, brightest=brightest)


def _square(path: Path, geometry: Geometry | Whole, max_megapixels: int) -> Square:
    try:
        with reading(path, max_megapixels) as data:
            return decode_bytes(data, geometry, max_megapixels, path)
    except UnreadablePicture as error:
        return Square(_UNOPENED, reason=error.reason)


_UNOPENED = "unopened"


def _digest(path: Path, max_megapixels: int) -> str:
    try:
        with reading(path, max_megapixels) as data:
            return hashlib.sha256(data).hexdigest()
    except UnreadablePicture:
        return _UNOPENED


def _in_threads(
    work: Callable[[Path], R], paths: Sequence[Path], workers: int, ahead: int = 0
) -> Iterator[R]:
    workers = workers or cores()
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for path in paths:
            pending.append(_submitted(pool, work, path))
            if len(pending) > 8 * workers + ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ThreadPoolExecutor, work: Callable[[Path], R], path: Path) -> Future[R]:
    try:
        return pool.submit(work, path)
    except RuntimeError as error:  # no memory for a thread, or too many of them
        raise MachineError(f"{error}; use fewer --workers") from error


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def square_of_pixels(pixels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, 3] to uint8 [1 or 3, S, S].

    `stretch` and `crop` equal torchvision's `Resize((S, S))` and `Resize(S)` + `CenterCrop(S)` of
    the Pillow picture, pixel for pixel. Raises UnusableError, a ValueError, when `crop` would
    make a picture so thin that it exceeds Pillow's size limit on the way.
    """
    size = (pixels.shape[1], pixels.shape[0])
    mean = float(pixels.mean()) if geometry.resize == "pad" else 0.0
    return _finished(pixels, _resized_size(size, geometry), mean, geometry)


def square_of_picture(
    picture: Opened, geometry: Geometry | Whole
) -> tuple[NDArray[np.uint8], int | None]:
    """The same of an opened picture, and its brightest sample (see `reader.Decoded`).

    A picture in bands gives the very same square, for Pillow, too, resizes first the rows, then the
    columns, with 8 bits between; from version 13 on but for pictures whose height shrinks by far
    more pixels than their width, where it begins with the columns: there to one grey level. Of one
    that becomes lower and wider columns come first here, too.
    """
    if isinstance(geometry, Whole):
        decoded = whole(picture, geometry.bit_depth)
        return _channels_first(decoded.pixels), decoded.brightest
    bands = picture.bands(geometry.bit_depth)
    if picture.size is None:
        pixels, brightest = next(bands)
        return square_of_pixels(single_if_gray(pixels), geometry), brightest
    wide, high = _resized_size(picture.size, geometry)
    width, height = picture.size
    if high < height and wide > width:  # all rows widened would be far more than the picture
        decoded = whole(picture, geometry.bit_depth)
        low = Image.fromarray(decoded.pixels)
        low = low.resize((low.width, high), _FILTERS[geometry.interpolation])
        mean = float(decoded.pixels.mean()) if geometry.resize == "pad" else 0.0
        return _finished(np.asarray(low), (wide, high), mean, geometry), decoded.brightest
    narrow, levels, total, gray, count = [], [], 0, True, 0
    for pixels, level in bands:
        gray = gray and is_gray(pixels)
        total, count = total + int(pixels.sum(dtype=np.uint64)), count + pixels.size
        rows = Image.fromarray(pixels).resize((wide, len(pixels)), _FILTERS[geometry.interpolation])
        narrow.append(np.asarray(rows))
        levels.append(level)
    joined = np.concatenate(narrow)
    if gray and joined.ndim == 3:
        joined = np.ascontiguousarray(joined[..., 0])
    brightest = max((level for level in levels if level is not None), default=None)
    return _finished(joined, (wide, high), total / count, geometry), brightest


def _resized_size(size: tuple[int, int], geometry: Geometry) -> tuple[int, int]:
    """Width and height after resizing, before `crop` cuts and `pad` fills."""
    (width, height), side = size, geometry.size
    if geometry.resize == "stretch":
        return side, side
    if geometry.resize == "crop":
        short = min(width, height)
        wide, high = int(side * width / short), int(side * height / short)
        if wide * high > PILLOWS_LIMIT:
            raise UnusableError(
                f"too thin for --resize crop ({width} x {height}); use stretch or pad"
            )
        return wide, high
    long = max(width, height)
    return max(1, round(side * width / long)), max(1, round(side * height / long))


def _finished(
    pixels: NDArray[np.uint8], resized: tuple[int, int], mean: float, geometry: Geometry
) -> NDArray[np.uint8]:
    """Resize, and cut or fill up to the square, uint8 [1 or 3, S, S]."""
    (wide, high), side = resized, geometry.size
    square = Image.fromarray(pixels).resize(resized, _FILTERS[geometry.interpolation])
    if geometry.resize == "crop":
        left, top = round((wide - side) / 2), round((high - side) / 2)
        square = square.crop((left, top, left + side, top + side))
    elif geometry.resize == "pad":
        gray, inner = round(mean), square
        square = Image.new(inner.mode, (side, side), gray if pixels.ndim == 2 else (gray,) * 3)
        square.paste(inner, ((side - wide) // 2, (side - high) // 2))
    return _channels_first(np.asarray(square))


def _channels_first(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W] or [H, W, 3] to [1 or 3, H, W]."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
