"""Files with more than 8 bits per sample: their exact numbers, and one knowing step to 8 bits.

Pillow keeps only the high byte of 16-bit colour, clips 32-bit integers and rescales PGM files to
65535 whatever their white level. The functions here give the numbers that stand in the file.
"""

import io
import re
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_MIN_IS_WHITE = 0
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_PNM = re.compile(rb"P([2356])((?:\s|#[^\n\r]*)+\d+)((?:\s|#[^\n\r]*)+\d+)((?:\s|#[^\n\r]*)+\d+)\s")


class UnusableError(ValueError):
    """Why a picture cannot be used, in words for the user."""


def deep_samples(image: ImageFile.ImageFile, data: bytes) -> tuple[NDArray[Any], int] | None:
    """The samples of a file with over 8 bits, [H, W] or [H, W, 3], and the file's own white level.

    `image` is the opened, not yet loaded picture and `data` the file's bytes. None means 8 bits
    or less. The orientation that `image` still reports afterwards is not yet applied.
    """
    if image.format == "PPM":
        return _pnm(image, data)
    bits, plain = _tiff_kind(image)
    if image.mode.startswith("I;16"):
        inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _MIN_IS_WHITE
        samples = np.asarray(image).astype(np.uint16)
        white = 2**bits - 1
        return (white - samples if inverted else samples), white
    rawmodes = {_rawmode(tile.args) for tile in image.tile}
    if plain and len(rawmodes) == 1 and re.fullmatch(r"(RGB[AX]?|LA);16[BLN]", min(rawmodes)):
        return _two_bytes(image, data, min(rawmodes)), 65535
    if image.format == "TIFF" and (bits > 8 or not plain):
        return tiff_samples(data)
    return None


def tiff_samples(data: bytes) -> tuple[NDArray[Any], int]:
    """First page of a TIFF by tifffile: samples [H, W] or [H, W, 3] and the white level."""
    import tifffile  # slow to import, rarely needed

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].aspage()
        if page.imagewidth * page.imagelength > (Image.MAX_IMAGE_PIXELS or sys.maxsize):
            raise UnusableError(f"too large ({page.imagewidth} x {page.imagelength} pixels)")
        try:
            samples = page.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise UnusableError("unsupported TIFF compression; save it uncompressed") from error
            raise
        kind, bits, axes = page.photometric, int(page.bitspersample), page.axes
    if axes.startswith("S"):
        samples = np.moveaxis(samples, 0, -1)
    if kind == tifffile.PHOTOMETRIC.RGB:
        return samples[..., :3], 2**bits - 1
    gray = samples[..., 0] if samples.ndim == 3 and samples.shape[-1] == 2 else samples
    if gray.ndim != 2 or kind not in (_MIN_IS_WHITE, tifffile.PHOTOMETRIC.MINISBLACK):
        raise UnusableError("unsupported kind of TIFF; save it as gray or RGB")
    if kind == _MIN_IS_WHITE:
        gray = (1 if gray.dtype.kind == "f" else 2**bits - 1) - gray
    return gray, 2**bits - 1


def to_eight_bits(
    samples: NDArray[Any], declared: int, bit_depth: int
) -> tuple[NDArray[np.uint8], int | None]:
    """Scale samples to uint8 by the white level `min(declared, 2**bit_depth - 1)`, rounding.

    Floating-point samples must lie in 0..1. The second item is the brightest sample when the
    white level came from `bit_depth`, else None. Raises UnusableError for samples out of range.
    """
    if samples.dtype.kind == "f":
        if not (samples.min() >= 0 and samples.max() <= 1):
            raise UnusableError("floating-point values outside 0..1; convert it to 8 or 16 bit")
        return (samples * 255 + 0.5).astype(np.uint8), None
    if samples.dtype == bool:
        return samples.astype(np.uint8) * np.uint8(255), None
    flagged = 2**bit_depth - 1
    white = min(declared, flagged)
    darkest, brightest = int(samples.min()), int(samples.max())
    if darkest < 0:
        raise UnusableError(f"negative value {darkest}; convert it to unsigned 8 or 16 bit")
    if brightest > white:
        needed = brightest.bit_length()
        remedy = f"set --bit-depth {needed}" if needed <= 16 else "convert it to 16 bit"
        raise UnusableError(f"value {brightest} is over the white level {white}; {remedy}")
    scaled = (samples.astype(np.uint32) * np.uint32(255) + np.uint32(white // 2)) // np.uint32(
        white
    )
    return scaled.astype(np.uint8), brightest if declared >= flagged > 255 else None


def _tiff_kind(image: Image.Image) -> tuple[int, bool]:
    """Bits per sample, and whether the samples are plain unsigned integers."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (16 if image.mode.startswith("I;16") else 8,)))
    return bits, all(kind == 1 for kind in tags.get(_SAMPLE_FORMAT, (1,)))


def _pnm(image: Image.Image, data: bytes) -> tuple[NDArray[Any], int] | None:
    if image.mode == "F":
        return np.asarray(image), 0
    header = _PNM.match(data)
    if header is None:  # bitmaps (P1, P4)
        return None
    white = int(header[4].split()[-1])
    if white <= 255:
        return None
    shape = (image.height, image.width, 3) if header[1] in b"36" else (image.height, image.width)
    count = int(np.prod(shape))
    body = data[header.end() :]
    if header[1] in b"56":
        samples = np.frombuffer(body, ">u2", min(count, len(body) // 2)).astype(np.int64)
    else:
        samples = np.array(body.split()[:count], np.int64)
    if samples.size < count:
        raise UnusableError("truncated")
    if samples.max() > white:
        raise UnusableError(f"damaged (value {samples.max()} over its own white level {white})")
    return samples.reshape(shape), white


def _two_bytes(image: Image.Image, data: bytes, rawmode: str) -> NDArray[np.uint16]:
    """16-bit colour [H, W, 3], or gray of gray + alpha [H, W].

    Pillow unpacks one byte of each sample: the high one by itself, and the low one when told the
    opposite byte order. Both together are the sample.
    """
    if rawmode.startswith("LA"):  # four bytes per pixel, unpacked as they are
        four = _unpacked(data, "RGBA")
        return _joined(four[..., 0], four[..., 1])
    little = rawmode[-1] == "L" or (rawmode[-1] == "N" and sys.byteorder == "little")
    low = _unpacked(data, rawmode[:-1] + ("B" if little else "L"))
    return _joined(np.asarray(image), low)[..., :3]


def _joined(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return high.astype(np.uint16) * np.uint16(256) + low


def _unpacked(data: bytes, rawmode: str) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    assert isinstance(image, ImageFile.ImageFile)
    image.tile = [tile._replace(args=_with_rawmode(tile.args, rawmode)) for tile in image.tile]
    return np.asarray(image)


def _rawmode(args: Any) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)


def _with_rawmode(args: Any, rawmode: str) -> Any:
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode
