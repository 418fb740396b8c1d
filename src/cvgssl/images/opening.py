"""From a picture file's bytes to Pillow's opened, not yet decoded picture.

Pillow's own `open` has one limit of pixels for the whole process; here each caller has its own.
The formats are those of `reader.py`; what PostScript or a font parser could do to a program that
reads pictures of unknown origin is never tried.
"""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_SCAN = b"\xff\xda"
PILLOWS_LIMIT = 89_478_485
"""Pixels over which Pillow itself warns, by default."""

_Factory = Callable[[io.BytesIO], Image.Image]
_FACTORIES: dict[str, _Factory] = {
    "BMP": BmpImageFile,
    "JPEG": jpeg_factory,
    "PNG": PngImageFile,
    "PPM": PpmImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
}
_ORIENTATION = 274
_TELLING = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_SETTINGS = threading.Lock()


class UnusableError(ValueError):
    """Why a picture cannot be used, as text for the user."""


def format_of(data: bytes) -> str:
    """The format by the first bytes: BMP, JPEG, PNG, PPM, TIFF or WEBP; raises UnusableError."""
    if not data:
        raise UnusableError("the file is empty")
    if data.startswith(PNG_MAGIC):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith(TIFF_MAGIC):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:1] == b"P" and data[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"0", b"f", b"y"):
        return "PPM"
    raise UnusableError("not a picture in a known format")


def opened_picture(data: bytes) -> ImageFile.ImageFile | None:
    """The opened, not yet decoded picture; None for a TIFF that Pillow does not know.

    Raises UnusableError for bytes in none of the formats, and whatever Pillow raises.
    """
    name = format_of(data)
    try:
        with _quiet():
            image = _FACTORIES[name](io.BytesIO(data))
            if name == "TIFF":  # is read here, once, for it warns of each odd tag
                with suppress(Exception):
                    image.getexif()
    except SyntaxError:  # how Pillow's parsers refuse a file
        if name == "TIFF":
            return None
        if name == "PNG":
            raise
        raise UnusableError("not a picture in a known format") from None
    assert isinstance(image, ImageFile.ImageFile)
    return image


def with_rawmode(image: ImageFile.ImageFile, rawmode: str) -> ImageFile.ImageFile:
    """The opened picture, to be unpacked by another of Pillow's raw modes than it chose."""
    image.tile = [tile._replace(args=_changed(tile.args, rawmode)) for tile in image.tile]
    return image


def _changed(args: Any, rawmode: str) -> Any:
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode


def orientation(image: Image.Image) -> int:
    """The EXIF or TIFF orientation 1..8; 1 for side data that cannot be read."""
    if not hasattr(image, "tag_v2") and not image.info.keys() & _TELLING:
        return 1
    with _quiet():
        try:
            return int(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # it raises almost anything; pixels do not depend on it
            return 1


def load(image: Image.Image) -> None:
    """Decode an opened picture, however large."""
    if image.width * image.height <= PILLOWS_LIMIT:
        image.load()
    else:
        with _quiet():
            image.load()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no limit of pixels by Pillow; both are settings of the whole process.

    The lock keeps threads from restoring each other's. What Pillow warns of without a name is
    noticed when pixels are decoded; the limit of pixels is the caller's.
    """
    with _SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
