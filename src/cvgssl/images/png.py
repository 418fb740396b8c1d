"""PNG files: without what pixels do not depend on, and a large one as several smaller ones.

The filter of a PNG's rows refers to the row above; here the rows are unfiltered by Pillow, a band
at a time, each band as a PNG file of its own that begins with the last row of the one before.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from cvgssl.images import opening
from cvgssl.images.opening import PNG_MAGIC, UnusableError

_PALETTE = 3
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# colour types of 8 bits whose pixels have as many bytes; with more bytes, two readings give all
_SAME_BYTES = {1: 0, 2: 4, 3: 2, 4: 6}
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_FRAMES = (b"acTL", b"fcTL", b"fdAT")
_TEXT = 2**20  # bytes of text in a chunk that Pillow reads
_ALL_TEXT = 2**24  # in all chunks of a file; no orientation needs so much
_FEW_CHUNKS, _USUAL_CHUNK = 10_000, 256  # chunks of any size; least bytes per chunk beyond
# bytes that Pillow takes for granted in chunks that pixels do not depend on
_LEAST = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
_LEAST_TRANSPARENT = {0: 2, 2: 6}  # by colour type
_WIDE = {6: "RGB", 8: "RGBA"}


def without_side_data(data: bytes) -> bytes:
    """A PNG without text, colour profile and further frames; what may give its orientation stays.

    Pillow limits the size of text and the like and refuses the whole file; pixels do not depend
    on it. A chunk whose checksum is wrong stays, so that a damaged file remains one.
    """
    kept, left, budget = [data[: len(PNG_MAGIC)]], 0, _ALL_TEXT
    for kind, start, stop in _chunks(data):
        side = kind in _FRAMES or (
            stop - start < _least(kind, data) and _is_sound(kind, data, start, stop)
        )
        if kind in _TEXTS and _is_sound(kind, data, start, stop):
            taken = _orientation_text(kind, data[start:stop]) if budget > 0 else 0
            budget -= taken
            side = not 0 < taken < _TEXT or budget <= 0
        if side:
            left += 1
        else:
            kept.append(data[start - 8 : stop + 4])
    return b"".join(kept) if left else data


def orientation_of_png(data: bytes) -> int:
    """What the side data say of the orientation, 1..8; pixels are not decoded."""
    side = [data[start - 8 : stop + 4] for kind, start, stop in _chunks(data)
            if kind in (*_TEXTS, b"eXIf")]  # fmt: skip
    image = opening.opened_picture(_file((1, 1), (8, 0), b"\0\0", b"".join(side)))
    return 1 if image is None else opening.orientation(image)


def _least(kind: bytes, data: bytes) -> int:
    """Bytes that a chunk of this kind must have to be of use."""
    return _LEAST_TRANSPARENT.get(data[25], 0) if kind == b"tRNS" else _LEAST.get(kind, 0)


def _is_sound(kind: bytes, data: bytes, start: int, stop: int) -> bool:
    """Whether a chunk's checksum is right."""
    checksum = zlib.crc32(memoryview(data)[start:stop], zlib.crc32(kind))
    return checksum.to_bytes(4, "big") == data[stop : stop + 4]


def _orientation_text(kind: bytes, content: bytes) -> int:
    """Bytes of a text that may tell the orientation, up to _TEXT; 0 for any other.

    A damaged one counts _TEXT.
    """
    keyword, _, text = content.partition(b"\0")
    if keyword not in (b"Raw profile type exif", b"XML:com.adobe.xmp"):
        return 0
    packed = kind == b"zTXt"
    if packed:
        text = text[1:]
    elif kind == b"iTXt":
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    inflate = zlib.decompressobj()
    try:
        return min(_TEXT, len(inflate.decompress(text, _TEXT) if packed else text))
    except zlib.error:
        return _TEXT


@dataclass(frozen=True)
class _Header:
    """What IHDR says."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def pixel(self) -> int:
        """Bytes to the sample of the pixel before, as filters count them."""
        return max(1, _CHANNELS[self.colour] * self.bits // 8)

    @property
    def line(self) -> int:
        """Bytes of a row."""
        return -(-self.width * _CHANNELS[self.colour] * self.bits // 8)


def bands_of_png(data: bytes, pixels: int) -> Iterator[bytes | NDArray[Any]] | None:
    """The picture in parts of about `pixels` pixels each, from the top; None: not divisible.

    A part is its samples without alpha, uint8 or uint16 [h, W] or [h, W, 3], or (of a palette or
    fewer than 8 bits) a PNG file. Interlaced pictures are not divisible. Iterating raises
    UnusableError for a truncated file and zlib.error for a damaged one.
    """
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[0][2] - chunks[0][1] != 13:
        return None
    head = data[chunks[0][1] : chunks[0][2]]
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    header = _Header(width, height, bits, colour, interlaced > 0)
    if header.interlaced or header.colour not in _CHANNELS:
        return None
    palette = b"".join(
        data[start - 8 : stop + 4] for kind, start, stop in chunks if kind in (b"PLTE", b"tRNS")
    )
    rows = max(1, pixels // header.width)
    parts = (data[start:stop] for kind, start, stop in chunks if kind == b"IDAT")
    return _bands(_Inflated(parts), header, palette, rows)


def _bands(
    stream: "_Inflated", header: _Header, palette: bytes, rows: int
) -> Iterator[bytes | NDArray[Any]]:
    kind = (header.bits, header.colour)
    above = bytes(1 + header.line)
    for first in range(0, header.height, rows):
        count = min(rows, header.height - first)
        filtered = above + stream.take(count * (1 + header.line))
        raw = _unfiltered(filtered, header, count + 1)[1:]
        above = b"\0" + raw[-1].tobytes()
        if header.bits < 8 or header.colour == _PALETTE:
            plain = np.pad(raw, ((0, 0), (1, 0)))  # filter 0 (none) before each row
            yield _file((header.width, count), kind, plain.tobytes(), palette)
            continue
        samples = raw.view(">u2" if header.bits == 16 else "u1").reshape(count, header.width, -1)
        yield samples[..., :3] if header.colour in (2, 6) else samples[..., 0]


class _Inflated:
    """The bytes of the pixel data, as many at a time as are asked for."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._held = parts, b""
        self._inflate = zlib.decompressobj()

    def take(self, size: int) -> bytes:
        """The next `size` bytes; raises UnusableError when there are not so many."""
        taken = bytearray()
        while len(taken) < size:
            self._held = self._held or next(self._parts, b"")
            if not self._held or self._inflate.eof:  # zlib keeps asking with what comes after it
                raise UnusableError("truncated")
            taken += self._inflate.decompress(self._held, size - len(taken))
            self._held = self._inflate.unconsumed_tail
        return bytes(taken)


def _unfiltered(filtered: bytes, header: _Header, rows: int) -> NDArray[np.uint8]:
    """Rows of bytes uint8 [rows, header.line] of filtered rows, each with its filter before it."""
    if header.pixel in _SAME_BYTES:
        size, colour = (header.line // header.pixel, rows), _SAME_BYTES[header.pixel]
        plain = PngImageFile(io.BytesIO(_file(size, (8, colour), filtered)))
        return np.asarray(plain).reshape(rows, header.line)
    data = _file((header.width, rows), (header.bits, header.colour), filtered)
    raw = np.empty((rows, header.line), np.uint8)
    for place, order in enumerate("BL"):  # the high bytes, then the low ones
        image = opening.with_rawmode(
            PngImageFile(io.BytesIO(data)), f"{_WIDE[header.pixel]};16{order}"
        )
        raw[:, place::2] = np.asarray(image).reshape(rows, -1)
    return raw


def _file(
    size: tuple[int, int], kind: tuple[int, int], filtered: bytes, palette: bytes = b""
) -> bytes:
    """A PNG of (width, height), of (bits, colour type), of filtered rows; not compressed."""
    head = struct.pack(">IIBBBBB", *size, *kind, 0, 0, 0)
    return b"".join(
        (PNG_MAGIC, _chunk(b"IHDR", head), palette, _chunk(b"IDAT", zlib.compress(filtered, 0)),
         _chunk(b"IEND", b""))
    )  # fmt: skip


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG, each as its kind and where its content begins and ends in `data`.

    Raises UnusableError for a great many small ones, each of which costs every reader time.
    """
    place, left = len(PNG_MAGIC), max(_FEW_CHUNKS, len(data) // _USUAL_CHUNK)
    while place + 12 <= len(data):
        left -= 1
        if left < 0:
            raise UnusableError("damaged (a great many chunks of a few bytes)")
        size = int.from_bytes(data[place : place + 4], "big")
        kind, start = data[place + 4 : place + 8], place + 8
        yield kind, start, min(start + size, len(data))
        if kind == b"IEND":
            return
        place = start + size + 4
