"""An opened picture and its pixels, band by band from the top where it is large.

A band of a TIFF is a smaller TIFF file, so that one decoder reads all.
Pictures that are turned or mirrored, interlaced PNG, WebP, compressed BMP and JPEG are decoded as
a whole.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from cvgssl.images import jpeg, opening, png, pnm, tiff
from cvgssl.images.deep import deep_samples, tiff_samples, to_eight_bits
from cvgssl.images.geometry import LARGEST_MEGAPIXELS
from cvgssl.images.opening import UnusableError

LARGE = 2**24
"""Pixels from which on a picture is decoded in bands, if its format allows."""

MOST_WEBP = 56_000_000
"""Pixels of a WebP picture, which takes 18 bytes each, so 1 GiB, and cannot come in bands."""

_BAND = 2**21  # pixels of a band
_DRAFT = opening.PILLOWS_LIMIT  # pixels over which a JPEG for a square is decoded at half size
_MOST_SCANS = 30  # of the largest picture; smaller ones may have more
_LONGEST_SIDE = 10**7  # pixels; a row is in memory several times, whatever the bands
_WITHOUT_SIDE_DATA = {"JPEG": jpeg.without_side_data, "PNG": png.without_side_data}
# run-length BMP and odd kinds of PNM: Pillow takes a second for a million bytes
_SLOW, _MOST_SLOW = ("bmp_rle", "ppm", "ppm_plain"), 2**23
BYTES_PER_PIXEL = 8
"""Of the largest file that is read, 16-bit colour with alpha."""
_PADDING = 2**26  # bytes of tiles beyond the pixels
_IN_BANDS = 64  # bytes in memory for each pixel of a band

Band = tuple[NDArray[np.uint8], int | None]
BandReader = Callable[[int], Iterator[Band]]


@dataclass(frozen=True)
class Opened:
    """A picture before its pixels are decoded.

    kind: the format, as `opening.format_of` gives it.
    size: width and height, pixels, of a picture in several bands; None: one band is the whole.
    memory: bytes that decoding takes, roughly and at most.
    bands: gives, for a bit depth, rows from the top, uint8 [h, W] or [h, W, 3], each with the
        brightest sample (see `reader.Decoded`); to be called once. Iterating raises UnusableError
        and whatever decoders raise on broken bytes.
    """

    kind: str
    size: tuple[int, int] | None
    memory: int
    bands: BandReader


def open_picture(data: bytes, max_megapixels: int, side: int | None = None) -> Opened:
    """Read the header; raises UnusableError for what is not a picture or has too many pixels.

    side: the pixels are for a square of this side, so that a huge JPEG may come at half its size.
    """
    name = opening.format_of(data)
    if name == "PPM" and (header := pnm.read_header(data)):
        size = (header.width, header.height)
        _check_size(size, max_megapixels)
        return Opened(name, size, _memory_in_bands(size), partial(_netpbm, data, header))
    directory = tiff.first_directory(data)
    if directory:
        _check_size(directory.size, max_megapixels)
        most = max_megapixels * 10**6 * BYTES_PER_PIXEL + _PADDING
        tiff.check_claims(directory, len(data), most)
        _check_scans(tiff.jpeg_scans(directory, data), max_megapixels)
    if name in _WITHOUT_SIDE_DATA:
        data = _WITHOUT_SIDE_DATA[name](data)
    image = opening.opened_picture(data)
    if image is None and directory is None:
        raise UnusableError("damaged (a TIFF file without a directory)")
    size = image.size if image else directory.size if directory else (0, 0)
    _check_size(size, max_megapixels)
    if image and len(data) > _MOST_SLOW and any(t.codec_name in _SLOW for t in image.tile):
        raise UnusableError(f"too large for its rare encoding, {len(data):,} bytes; save it as PNG")
    if name == "WEBP" and math.prod(size) > MOST_WEBP:
        raise UnusableError(
            f"too large for WebP, {size[0]} x {size[1]} pixels; save it as PNG, which is decoded "
            "in parts"
        )
    if math.prod(size) > LARGE and (source := _divided(data, image, directory)):
        return Opened(name, size, _memory_in_bands(size), source)
    if name == "JPEG":
        _check_scans([(data.count(opening.JPEG_SCAN), math.prod(size))], max_megapixels)
    if image and name == "JPEG" and side and math.prod(size) > _DRAFT and min(size) // 2 >= side:
        image.draft(None, (size[0] // 2, size[1] // 2))
    memory = _memory(image.size if image else size, image)
    if image and image.info.get("progressive"):  # all coefficients, two bytes each
        memory += 2 * len(image.getbands()) * math.prod(size)
    return Opened(name, None, memory, partial(_whole, data, image))


def claimed_size(head: bytes) -> tuple[int, int] | None:
    """Width and height by a file's first bytes; None for formats that hold more than a picture."""
    try:
        name = opening.format_of(head)
        if name == "PPM" and (header := pnm.read_header(head)):
            return header.width, header.height
        image = opening.opened_picture(head) if name in ("BMP", "PNG") else None
    except Exception:  # reading the whole file says why
        return None
    return image.size if image else None


def _check_size(size: tuple[int, int], max_megapixels: int) -> None:
    if (pixels := math.prod(size)) > max_megapixels * 10**6:
        needed = -(-pixels // 10**6)
        option = f", or give --max-megapixels {needed}" if needed <= LARGEST_MEGAPIXELS else ""
        raise UnusableError(f"too large, {size[0]} x {size[1]} pixels; cut or shrink it{option}")
    if max(size) > _LONGEST_SIDE:
        raise UnusableError(f"too long, {size[0]} x {size[1]} pixels; cut it")


def _check_scans(parts: list[tuple[int, int]], max_megapixels: int) -> None:
    """Refuse progressive JPEGs of empty scans, each of which goes over all pixels.

    parts: scans and pixels of each part of the file that is a JPEG.
    """
    if sum(scans * pixels for scans, pixels in parts) > _MOST_SCANS * max_megapixels * 10**6:
        raise UnusableError(f"damaged ({max(scans for scans, _ in parts)} scans)")


def _memory_in_bands(size: tuple[int, int]) -> int:
    return min(math.prod(size), _BAND) * _IN_BANDS


def _memory(size: tuple[int, int], image: ImageFile.ImageFile | None) -> int:
    """Bytes that decoding as a whole takes, as measured."""
    kind = "" if image is None or image.format == "WEBP" else image.mode
    return math.prod(size) * {"L": 3, "RGB": 13}.get(kind, 18)


def _divided(
    data: bytes, image: ImageFile.ImageFile | None, directory: tiff.Directory | None
) -> BandReader | None:
    """The bands of a large picture; None: its format does not allow it."""
    files: Iterator[bytes | NDArray[Any]] | Iterator[bytes] | None = None
    if directory is not None:
        upright = directory.number(tiff.ORIENTATION, 1) == 1
        files = tiff.bands_of_tiff(data, directory, _BAND) if upright else None
    elif image is not None and image.format == "PNG":
        files = png.bands_of_png(data, _BAND) if png.orientation_of_png(data) == 1 else None
    elif image is not None and image.format == "BMP" and image.mode in ("L", "RGB", "RGBA"):
        return partial(_bitmap, data, image) if image.tile[0].codec_name == "raw" else None
    return None if files is None else partial(_files, files)


def _files(
    files: Iterator[bytes | NDArray[Any]] | Iterator[bytes], bit_depth: int
) -> Iterator[Band]:
    """Bands that are smaller files of the format, or already samples."""
    for file in files:
        if isinstance(file, bytes):
            yield from _whole(file, opening.opened_picture(file), bit_depth)
        elif file.dtype == np.uint8:
            yield file, None
        else:
            yield from to_eight_bits(iter([file]), 65535, bit_depth)


def _netpbm(data: bytes, header: pnm.Header, bit_depth: int) -> Iterator[Band]:
    blocks = pnm.blocks(data, header, _BAND)
    if header.white > 255:
        yield from to_eight_bits(blocks, header.white, bit_depth)
    else:
        for block in blocks:
            yield block, None


def _bitmap(data: bytes, image: ImageFile.ImageFile, _bit_depth: int) -> Iterator[Band]:
    """Rows of an uncompressed BMP, which often stores the last row first."""
    offset = image.tile[0].offset
    rawmode, stride, order = cast(tuple[str, int, int], image.tile[0].args)
    rows = max(1, _BAND // image.width)
    for first in range(0, image.height, rows):
        count = min(rows, image.height - first)
        start = offset + (first if order > 0 else image.height - first - count) * stride
        part = data[start : start + count * stride]
        if len(part) < count * stride:
            raise UnusableError("truncated")
        size = (image.width, count)
        band = Image.frombytes(image.mode, size, part, "raw", rawmode, stride, order)
        yield _eight_bit(band), None


def _whole(data: bytes, image: ImageFile.ImageFile | None, bit_depth: int) -> Iterator[Band]:
    """The picture as one band; `image` is None for a TIFF that Pillow does not know."""
    deep = tiff_samples(data) if image is None else deep_samples(image, data)
    if deep is None:
        assert image is not None
        opening.load(image)
        pixels, brightest = _eight_bit(image), None
    else:
        blocks, levels = zip(*to_eight_bits(*deep, bit_depth), strict=True)
        pixels = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        brightest = max((level for level in levels if level is not None), default=None)
    turn = 1 if image is None else opening.orientation(image)
    yield _upright(pixels, turn), brightest


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
