"""Files with more than 8 bits per sample: their exact numbers, and one knowing step to 8 bits.

Pillow keeps only the high byte of 16-bit colour and clips 32-bit integers. The functions here give
the numbers that the file has, as blocks of rows from the top: none makes several copies of a
whole large picture.
"""

import io
import logging
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from cvgssl.images.opening import UnusableError, load, opened_picture, with_rawmode
from cvgssl.images.tiff import MOST_SAMPLES, first_directory

_MIN_IS_WHITE = 0
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_BLOCK = 2**20  # pixels that are converted at a time
_DEFLATE, _LZMA, _PACKBITS = (8, 32946, 50013), 34925, 32773  # TIFF compressions
_SPARE = 2**20  # bytes that a strip may hold over what its pixels need

Blocks = Iterator[NDArray[Any]]


def deep_samples(image: ImageFile.ImageFile, data: bytes) -> tuple[Blocks, int] | None:
    """The samples of a file with over 8 bits, [h, W] or [h, W, 3], and the file's own white level.

    `image` is the opened, not yet loaded picture and `data` the file's bytes. None means 8 bits
    or less. The orientation that `image` still reports afterwards is not yet applied.
    """
    bits, plain = _tiff_kind(image)
    if image.mode.startswith("I;16"):
        inverted = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _MIN_IS_WHITE
        return _sixteen_bit(image, 2**bits - 1 if inverted else None), 2**bits - 1
    if image.mode == "F" and image.format == "PPM":
        return _rows(np.asarray(image)), 0
    rawmodes = {_rawmode(tile.args) for tile in image.tile}
    if plain and len(rawmodes) == 1 and re.fullmatch(r"(RGB[AX]?|LA);16[BLN]", min(rawmodes)):
        return _two_bytes(image, data, min(rawmodes)), 65535
    if image.format == "TIFF" and (bits > 8 or not plain):
        return tiff_samples(data)
    return None


def tiff_samples(data: bytes) -> tuple[Blocks, int]:
    """First page of a TIFF by tifffile: samples [h, W] or [h, W, 3] and the white level."""
    import tifffile  # slow to import, rarely needed

    # of damage it logs a line per tag; the caller has the reason
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].aspage()
        _check_samples(page, data)
        _check_strips(page, data)
        try:
            samples = page.asarray()
        except (ValueError, NotImplementedError, ImportError) as error:
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                raise UnusableError(
                    "unsupported TIFF compression or bits per sample; save it uncompressed, with 8 "
                    "or 16 bits"
                ) from error
            raise
        kind, bits, axes = page.photometric, int(page.bitspersample), page.axes
    if axes.startswith("S"):
        samples = np.moveaxis(samples, 0, -1)
    if kind == tifffile.PHOTOMETRIC.RGB:
        return _rows(samples[..., :3]), 2**bits - 1
    gray = samples[..., 0] if samples.ndim == 3 and samples.shape[-1] == 2 else samples
    if gray.ndim != 2 or kind not in (_MIN_IS_WHITE, tifffile.PHOTOMETRIC.MINISBLACK):
        raise UnusableError("unsupported kind of TIFF; save it as gray or RGB")
    if kind == _MIN_IS_WHITE:
        gray = (1 if gray.dtype.kind == "f" else 2**bits - 1) - gray
    return _rows(gray), 2**bits - 1


def _check_samples(page: Any, data: bytes) -> None:
    """Raise UnusableError where tifffile would make room for more than the size that was checked.

    It takes numbers of any type for a width or height, and stacks that a tag may declare.
    """
    directory = first_directory(data)
    if directory is None or page.size > math.prod(directory.size) * MOST_SAMPLES:
        raise UnusableError("damaged (its tags claim more samples than it has pixels)")


def _check_strips(page: Any, data: bytes) -> None:
    """Raise UnusableError for a strip or tile that inflates to far more than its pixels need.

    tifffile inflates each as a whole, whatever comes out.
    """
    most = int(np.prod(page.chunks, dtype=object)) * page.dtype.itemsize + _SPARE
    sizes = _INFLATING.get(page.compression)
    if sizes is None:  # the others hardly inflate
        return
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        left = most
        for part in sizes(data[start : start + size]):
            left -= part
            if left < 0:
                raise UnusableError("damaged (a strip inflates to more than its pixels)")


def _inflated(packed: bytes) -> Iterator[int]:
    """Bytes that come out, part by part."""
    inflate = zlib.decompressobj()
    while packed and not inflate.eof:
        yield len(inflate.decompress(packed, _SPARE))
        packed = inflate.unconsumed_tail


def _lzma_inflated(packed: bytes) -> Iterator[int]:
    import lzma  # some builds of Python lack it; then tifffile says so

    while packed:  # of any number of streams
        inflate = lzma.LZMADecompressor()
        yield len(inflate.decompress(packed, _SPARE))
        while not inflate.eof and not inflate.needs_input:
            yield len(inflate.decompress(b"", _SPARE))
        packed = inflate.unused_data


def _runs(packed: bytes) -> Iterator[int]:
    """The same of PackBits, where one that says nothing counts as a byte, for its time."""
    place = 0
    while place < len(packed):
        head = packed[place]
        if head < 128:  # so many bytes and one more follow as they are
            place += 2 + head
            yield 1 + head
        elif head > 128:  # the next one, so often
            place += 2
            yield 257 - head
        else:
            place += 1
            yield 1


_INFLATING = {**dict.fromkeys(_DEFLATE, _inflated), _LZMA: _lzma_inflated, _PACKBITS: _runs}


def to_eight_bits(
    blocks: Blocks, declared: int, bit_depth: int
) -> Iterator[tuple[NDArray[np.uint8], int | None]]:
    """Scale samples to uint8 by the white level `min(declared, 2**bit_depth - 1)`, rounding.

    blocks: integers, bool or float, [h, W] or [h, W, C]; the results have the same shapes.
    Floating-point samples must be in 0..1. Beside each block its brightest sample when the white
    level came from `bit_depth`, else None. Raises UnusableError for samples out of range.
    """
    flagged = 2**bit_depth - 1
    white = min(declared, flagged)
    for samples in blocks:
        if samples.dtype.kind not in "fiub":
            raise UnusableError(f"samples are {samples.dtype}; save it as gray or RGB")
        if samples.dtype.kind == "f":
            if not (samples.min() >= 0 and samples.max() <= 1):
                raise UnusableError("floating-point values outside 0..1; convert it to 8 or 16 bit")
            yield (samples * 255 + 0.5).astype(np.uint8), None
        elif samples.dtype == bool:
            yield samples.astype(np.uint8) * np.uint8(255), None
        else:
            brightest = int(samples.max())
            if brightest > white or int(samples.min()) < 0:
                _refuse(chain([samples], blocks), white)
            scaled = (samples.astype(np.uint32) * np.uint32(255) + np.uint32(white // 2)) // (
                np.uint32(white)
            )
            yield scaled.astype(np.uint8), brightest if declared >= flagged > 255 else None


def _refuse(blocks: Iterable[NDArray[Any]], white: int) -> NoReturn:
    """Say which samples are out of range, by the extremes of all that is left."""
    ranges = [(int(samples.min()), int(samples.max())) for samples in blocks]
    darkest, brightest = min(low for low, _ in ranges), max(high for _, high in ranges)
    if darkest < 0:
        raise UnusableError(f"negative value {darkest}; convert it to unsigned 8 or 16 bit")
    needed = brightest.bit_length()
    remedy = f"set --bit-depth {needed}" if needed <= 16 else "convert it to 16 bit"
    raise UnusableError(f"value {brightest} is over the white level {white}; {remedy}")


def _tiff_kind(image: Image.Image) -> tuple[int, bool]:
    """Bits per sample, and whether the samples are plain unsigned integers."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (16 if image.mode.startswith("I;16") else 8,)))
    return bits, all(kind == 1 for kind in tags.get(_SAMPLE_FORMAT, (1,)))


def _rows(samples: NDArray[Any]) -> Blocks:
    """An array [H, W, ...] as blocks of rows."""
    step = max(1, _BLOCK // max(1, samples.shape[1]))
    for first in range(0, len(samples), step):
        yield samples[first : first + step]


def _parts(image: Image.Image) -> Blocks:
    """The same of a picture of Pillow's, without a copy of the whole."""
    step = max(1, _BLOCK // image.width)
    load(image)
    for first in range(0, image.height, step):
        yield np.asarray(image.crop((0, first, image.width, min(first + step, image.height))))


def _sixteen_bit(image: Image.Image, inverted: int | None) -> Blocks:
    for part in _parts(image):
        samples = part.astype(np.uint16)
        yield samples if inverted is None else inverted - samples


def _two_bytes(image: ImageFile.ImageFile, data: bytes, rawmode: str) -> Blocks:
    """16-bit colour [h, W, 3], or gray of gray + alpha [h, W].

    Pillow unpacks one byte of each sample: the high one as it is, and the low one when given the
    opposite byte order. Both together are the sample.
    """
    if rawmode.startswith("LA"):  # four bytes per pixel, unpacked as they are
        for four in _parts(_with_rawmode(data, "RGBA")):
            yield _joined(four[..., 0], four[..., 1])
        return
    little = rawmode[-1] == "L" or (rawmode[-1] == "N" and sys.byteorder == "little")
    low = _with_rawmode(data, rawmode[:-1] + ("B" if little else "L"))
    for high, below in zip(_parts(image), _parts(low), strict=True):
        yield _joined(high[..., :3], below[..., :3])


def _joined(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return high.astype(np.uint16) * np.uint16(256) + low


def _with_rawmode(data: bytes, rawmode: str) -> Image.Image:
    image = opened_picture(data)
    assert image is not None
    return with_rawmode(image, rawmode)


def _rawmode(args: Any) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)
