"""One picture file to uint8 pixels, whatever its format, or a clear reason why not.

What is decided here, for every command alike:
- A file is read by its content; its extension does not matter.
- Over 8 bits per sample: scaled by the white level `2**bit_depth - 1` (or the file's own, when
  it declares a smaller one), never truncated; floating point must be in 0..1.
- Alpha and palette transparency are dropped: the camera's reading is in the colour channels, and
  the published loader drops them too. CMYK becomes RGB.
- The EXIF or TIFF orientation is applied. Of several pages the first counts.
- Three equal channels are one gray channel.
- A large picture is decoded band by band where its format allows (`bands.py`).
- Trouble of the machine (memory, file handles, the disk) is an error, never a damaged picture.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.bands import BYTES_PER_PIXEL, Opened, claimed_size, open_picture
from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.opening import UnusableError, format_of
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import check_file, machine_trouble, one_line

EXTENSIONS: frozenset[str] = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
)
VERSION = 1  # raise when the same file would give other pixels, so that no cache outlives it

_NEEDED = 2**27  # bytes that every decoder should be able to get
_SUSPICIOUS = 2**26  # bytes over which a file is held against its header before it is read
_HEAD = 2**16
_FEW = 2**20  # bytes that nobody waits for


class Memory:
    """A semaphore of `size` bytes; what needs more than all of it waits until it has all.

    free: bytes that nobody holds.
    """

    def __init__(self, size: int) -> None:
        self._size = self.free = size
        self._changed = threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait for `size` bytes and keep them during the block; a few count as none."""
        if size < _FEW:
            yield
            return
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self.free >= size)
            self.free -= size
        try:
            yield
        finally:
            with self._changed:
                self.free += size
                self._changed.notify_all()


# How much all threads together may use. A thread takes of the first, then of the second, never the
# other way round: no two wait for each other.
_FILES = Memory(2**30)
_DECODING = Memory(2**31)


class UnreadablePicture(UserError):  # noqa: N818 - named as the user would say it
    """A file that cannot be used as a picture; `path` and `reason` say which and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """pixels: uint8 [H, W] gray or [H, W, 3] RGB.

    brightest: the brightest sample of a file whose white level came from `bit_depth`, else None.
    kind: the format by content: BMP, JPEG, PNG, PPM (PGM too), TIFF or WEBP.
    """

    pixels: NDArray[np.uint8]
    brightest: int | None = None
    kind: str = ""


def read_picture(
    path: Path, bit_depth: int = 16, max_megapixels: int = MAX_MEGAPIXELS
) -> NDArray[np.uint8]:
    """The picture as uint8 [H, W] (gray) or [H, W, 3] (RGB), upright.

    bit_depth: 8..16, the white level of 16-bit files is `2**bit_depth - 1`.
    Raises UnreadablePicture for a file that is missing, empty, truncated, no picture, larger than
    `max_megapixels`, or brighter than the white level.
    """
    with reading(path, max_megapixels) as data:
        return decode(data, path, bit_depth, max_megapixels).pixels


def picture_format(path: Path) -> str:
    """The format by content, as `Decoded.kind`.

    Raises UnreadablePicture when the file is none of them; pixels are not decoded.
    """
    data = read_bytes(path)
    with _naming(path, data):
        return format_of(data)


@contextmanager
def reading(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> Iterator[bytes]:
    """The file's bytes for the block, as `read_bytes`; large files wait here for memory."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError):  # reading it says why
        size = 0
    with _FILES.held(size):
        yield read_bytes(path, max_megapixels)


def read_bytes(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> bytes:
    """The file's bytes; raises UnreadablePicture.

    A file of over 8 bytes for each pixel of the largest picture is refused unread.
    """
    try:
        size = check_file(path)
    except MachineError:
        raise
    except UserError as error:
        raise UnreadablePicture(path, _why(path, error)) from error
    most = max_megapixels * 10**6 * BYTES_PER_PIXEL
    if size > most:
        raise UnreadablePicture(
            path, f"too large, {size:,} bytes; at most {most:,} are read (--max-megapixels)"
        )
    if not size:  # files of /proc have no size and may block
        return b""
    try:
        with path.open("rb") as file:
            if size > _SUSPICIOUS:
                _check_size(path, size, file.read(_HEAD))
                file.seek(0)
            return file.read(size)
    except (OSError, MemoryError) as error:
        if trouble := machine_trouble(error):
            raise MachineError(f"{path}: {trouble}") from error
        raise UnreadablePicture(path, getattr(error, "strerror", "") or str(error)) from error


def _check_size(path: Path, size: int, head: bytes) -> None:
    """Refuse a file far larger than the picture that its first bytes claim."""
    claimed = claimed_size(head)
    if claimed and size > math.prod(claimed) * BYTES_PER_PIXEL + _SUSPICIOUS:
        width, height = claimed
        raise UnreadablePicture(path, f"damaged ({size:,} bytes for {width} x {height} pixels)")


def _why(path: Path, error: UserError) -> str:
    """Why a file cannot be opened, in the system's words if it has any."""
    if isinstance(error.__context__, OSError) and error.__context__.strerror:
        return error.__context__.strerror
    return str(error).removeprefix(str(path)).lstrip(": ")


def decode(
    data: bytes, path: Path, bit_depth: int = 16, max_megapixels: int = MAX_MEGAPIXELS
) -> Decoded:
    """Like `read_picture`, from the file's bytes; `path` is for the message."""
    assert 8 <= bit_depth <= 16
    with decoding(data, path, max_megapixels) as picture:
        return whole(picture, bit_depth)


@contextmanager
def decoding(
    data: bytes, path: Path, max_megapixels: int = MAX_MEGAPIXELS, side: int | None = None
) -> Iterator[Opened]:
    """The opened picture, for decoding its bands inside the block.

    side: of the square that the pixels are for (see `open_picture`); None: they are kept.
    Errors inside are those of `read_picture`. Large pictures wait here for memory.
    """
    with _naming(path, data):
        picture = open_picture(data, max_megapixels, side)
        kept = 3 * math.prod(picture.size) if picture.size and not side else 0
        with _DECODING.held(picture.memory + kept):
            yield picture


@contextmanager
def _naming(path: Path, data: bytes) -> Iterator[None]:
    """Turn what decoders raise into UnreadablePicture, and trouble of the machine into its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # broken bytes make decoders raise almost anything
        trouble = machine_trouble(error) or _short_of_memory(error)
        if trouble:
            raise MachineError(f"{path}: {trouble}") from error
        raise UnreadablePicture(path, _reason(error, data)) from error


def _short_of_memory(error: Exception) -> str:
    """Some decoders call it damage when they get no memory; then there is none for others too."""
    if isinstance(error, UnusableError):
        return ""
    try:
        np.empty(_NEEDED, np.uint8)
    except MemoryError as short:
        return machine_trouble(short)
    return ""


def whole(picture: Opened, bit_depth: int = 16) -> Decoded:
    """All bands in one array; to be called inside `decoding`."""
    bands = picture.bands(bit_depth)
    if picture.size is None:
        pixels, brightest = next(bands)
        return Decoded(single_if_gray(pixels), brightest, picture.kind)
    joined: NDArray[np.uint8] | None = None
    levels, row = [], 0
    for pixels, level in bands:
        if joined is None:
            joined = np.empty((picture.size[1], *pixels.shape[1:]), np.uint8)
        joined[row : row + len(pixels)] = pixels
        row += len(pixels)
        levels.append(level)
    assert joined is not None and row == len(joined)
    brightest = max((level for level in levels if level is not None), default=None)
    return Decoded(single_if_gray(joined), brightest, picture.kind)


def is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Whether pixels [H, W] or [H, W, 3] have one channel or three equal ones."""
    if pixels.ndim == 2:
        return True
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.array_equal(red, green) and np.array_equal(red, blue)


def single_if_gray(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W] of a picture with three equal channels; others unchanged."""
    gray = pixels.ndim == 3 and is_gray(pixels)
    return np.ascontiguousarray(pixels[..., 0]) if gray else pixels


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, UnusableError):
        return str(error)
    text = one_line(error)
    if "truncated" in text.lower():
        return "truncated"
    return f"damaged ({text}, {len(data)} bytes)"
