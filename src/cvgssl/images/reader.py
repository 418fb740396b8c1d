"""One picture file to uint8 pixels, whatever its format, or a clear reason why not.

What is decided here, for every command alike:
- A file is read by its content; its extension does not matter.
- Over 8 bits per sample: scaled by the white level `2**bit_depth - 1` (or the file's own, when
  it declares a smaller one), never truncated; floating point must lie in 0..1.
- Alpha and palette transparency are dropped: the camera's reading is in the colour channels, and
  the published loader drops them too. CMYK becomes RGB.
- The EXIF or TIFF orientation is applied. Of several pages the first counts.
- Three equal channels are one gray channel.
"""

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from cvgssl.images.deep import UnusableError, deep_samples, tiff_samples, to_eight_bits
from cvgssl.runtime.errors import UserError

EXTENSIONS: frozenset[str] = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
)
VERSION = 1  # raise when the same file would give other pixels, so that no cache outlives it

_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_OPENING = threading.Lock()


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
    """

    pixels: NDArray[np.uint8]
    brightest: int | None = None


def read_picture(path: Path, bit_depth: int = 16) -> NDArray[np.uint8]:
    """The picture as uint8 [H, W] (gray) or [H, W, 3] (RGB), upright.

    bit_depth: 8..16, the white level of 16-bit files is `2**bit_depth - 1`.
    Raises UnreadablePicture for a file that is missing, empty, truncated, no picture, larger than
    Pillow's limit against decompression bombs, or brighter than the white level.
    """
    return decode(read_bytes(path), path, bit_depth).pixels


def picture_format(path: Path) -> str:
    """The format by content: BMP, JPEG, PNG, PPM (PGM too), TIFF or WEBP.

    Raises UnreadablePicture when the file is none of them; pixels are not decoded.
    """
    data = read_bytes(path)
    try:
        image = _open(data)
    except Exception as error:
        raise UnreadablePicture(path, _reason(error, data)) from error
    return "TIFF" if image is None else _plain_format(image)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; raises UnreadablePicture."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePicture(path, error.strerror or str(error)) from error


def decode(data: bytes, path: Path, bit_depth: int = 16) -> Decoded:
    """Like `read_picture`, from the file's bytes; `path` is for the message."""
    assert 8 <= bit_depth <= 16
    try:
        return _decode(data, bit_depth)
    except Exception as error:  # broken bytes make decoders raise almost anything
        raise UnreadablePicture(path, _reason(error, data)) from error


def _decode(data: bytes, bit_depth: int) -> Decoded:
    image = _open(data)
    if image is None:
        pixels, brightest = to_eight_bits(*tiff_samples(data), bit_depth)
        return Decoded(_single_if_gray(pixels), brightest)
    deep = deep_samples(image, data)
    brightest = None
    if deep is None:
        pixels = _eight_bit(image)
    else:
        pixels, brightest = to_eight_bits(*deep, bit_depth)
    orientation = image.getexif().get(_ORIENTATION, 1)
    return Decoded(_single_if_gray(_upright(pixels, orientation)), brightest)


def _open(data: bytes) -> ImageFile.ImageFile | None:
    """The opened, not yet decoded picture; None for a TIFF that Pillow does not know."""
    if not data:
        raise UnusableError("the file is empty")
    try:
        # The lock keeps threads from restoring each other's warning filters.
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # damage: without a name here, found by decoding
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data.startswith(_TIFF_MAGIC):
            return None
        raise


def _eight_bit(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "P" or image.mode == "PA":
        image = image.convert("RGBA").convert("RGB")  # by way of RGBA, else Pillow warns of alpha
    elif image.mode in ("1", "LA", "La"):
        image = image.convert("L")
    elif image.mode == "LAB":
        raise UnusableError("unsupported colours (CIELAB); save it as gray or RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image)


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo the camera's orientation, EXIF values 1..8."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _single_if_gray(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel] for channel in range(3))
    gray = np.array_equal(red, green) and np.array_equal(red, blue)
    return np.ascontiguousarray(red) if gray else pixels


def _plain_format(image: Image.Image) -> str:
    name = image.format or ""
    return "JPEG" if name == "MPO" else name  # a JPEG with further pictures behind it


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, UnusableError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a known format"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"too large, over {Image.MAX_IMAGE_PIXELS} pixels; cut or shrink it"
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "truncated"
    return f"damaged ({text or type(error).__name__}, {len(data)} bytes)"
