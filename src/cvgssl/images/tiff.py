"""The first directory of a TIFF file: what it claims, and a part of its rows as a TIFF of its own.

Only what is needed to hold a file's claims against each other before a library believes them, and
to read a large picture band by band. The pixels are decoded elsewhere (`deep.py`, Pillow).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cvgssl.images.opening import JPEG_SCAN, TIFF_MAGIC, UnusableError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, ORIENTATION = 256, 257, 258, 259, 274
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_CLAIMS = (_BITS, _COMPRESSION, _SAMPLES, _PLANAR, _ROWS_PER_STRIP, _STRIP_OFFSETS, _STRIP_SIZES,
           _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES)  # fmt: skip
_DECODING = (258, 259, 262, 266, 277, 284, 292, 293, 317, 320, 322, 323, 338, 339, 347, 530, 532)
_UNCOMPRESSED, _OLD_JPEG, _JPEG = 1, 6, 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_TAGS = 4096
MOST_SAMPLES = 32  # per pixel
_USUAL_SEGMENT = 2**24  # pixels of a strip or tile that nobody wonders at
_MOST_SEGMENTS = 500_000  # strips and tiles; libraries take up to 10 microseconds for each
_SHARED = 2**22  # bytes that tags, and strips or tiles, may have in common

Tags = dict[int, tuple[int, int, bytes | memoryview]]


@dataclass(frozen=True)
class Directory:
    """The tags of the first picture.

    order: "<" or ">". tags: number -> (type, count, the values' bytes where they are in the file,
        not copied: many tags can claim the same place).
    """

    order: str
    tags: Tags

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag of integers; empty when it is not there, or has negative ones."""
        kind, count, raw = self.tags.get(tag, (0, 0, b""))
        if kind not in _INTEGERS:
            return ()
        values = struct.unpack(f"{self.order}{count}{_INTEGERS[kind]}", raw)
        return values if min(values, default=0) >= 0 else ()

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return next(iter(self.numbers(tag)), default)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.number(_WIDTH), self.number(_HEIGHT)

    @property
    def segment(self) -> tuple[int, int]:
        """Width and height of a strip or tile, pixels."""
        width, height = self.size
        if self.tiled:
            return self.number(_TILE_WIDTH), self.number(_TILE_LENGTH)
        return width, min(self.number(_ROWS_PER_STRIP, height) or height, height)

    @property
    def tiled(self) -> bool:
        """Whether it is in tiles, not in strips, as libraries decide it."""
        return _TILE_WIDTH in self.tags or _TILE_LENGTH in self.tags

    @property
    def places(self) -> Iterator[tuple[int, int]]:
        """Where each strip or tile begins in the file, and its bytes."""
        return zip(
            self.numbers(_TILE_OFFSETS if self.tiled else _STRIP_OFFSETS),
            self.numbers(_TILE_SIZES if self.tiled else _STRIP_SIZES),
            strict=False,
        )

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return self.number(_SAMPLES, 1)

    @property
    def planes(self) -> int:
        """How often the segments cover the picture: once, or once for each sample."""
        return self.samples if self.number(_PLANAR, 1) == 2 else 1


def first_directory(data: bytes) -> Directory | None:
    """The first directory of a TIFF; None when it cannot be followed (a library may say why).

    Raises UnusableError for a great many tags, and for tags that claim the same place again and
    again: libraries take time and memory for each.
    """
    if not data.startswith(TIFF_MAGIC):
        return None
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry, pointer = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    step, inline = struct.calcsize(order + entry), 8 if big else 4
    tags: Tags = {}
    inside, claimed = memoryview(data), 0
    try:
        (place,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        (number,) = struct.unpack_from(order + head, data, place)
        place += struct.calcsize(order + head)
        if number > _MOST_TAGS:
            raise UnusableError(f"damaged ({number} tags)")
        for row in range(number):
            tag, kind, count, value = struct.unpack_from(order + entry, data, place + row * step)
            size = count * _SIZES.get(kind, 0)
            if not size or tag in tags:
                continue
            if size > inline:
                (start,) = struct.unpack(order + pointer, value)
                value = inside[start : start + size]
            if len(value) >= size:
                tags[tag] = (kind, count, value[:size])
                claimed += size
    except struct.error:
        return None
    if claimed > len(data) + _SHARED:
        raise UnusableError(f"damaged (tags of {claimed:,} bytes)")
    return Directory(order, tags)


def check_claims(directory: Directory, stored: int, most: int) -> None:
    """Raise UnusableError for claims that do not go together.

    Strips or tiles far larger or more than the picture's pixels need would be decoded all the same,
    and one in the file can be claimed for many. stored: bytes of the file. most: bytes that all
    may have when they are decoded.
    """
    (width, height), (across, down) = directory.size, directory.segment
    for tag in _CLAIMS:
        if tag in directory.tags and not directory.numbers(
            tag
        ):  # libraries may read it all the same
            raise UnusableError(f"damaged (tag {tag} is no unsigned number)")
    if directory.samples > MOST_SAMPLES:
        raise UnusableError(f"has {directory.samples} samples per pixel; save it as gray or RGB")
    if across * down > max(_USUAL_SEGMENT, 4 * width * height) or (
        directory.tiled and not across * down
    ):
        raise UnusableError(
            f"has tiles of {across} x {down} for {width} x {height} pixels; save it with others"
        )
    if width * height * across * down:
        needed = -(-width // across) * -(-height // down) * directory.planes
        if needed > _MOST_SEGMENTS:
            raise UnusableError(f"has {needed:,} strips or tiles; save it with larger ones")
        samples = needed * across * down * directory.samples // directory.planes
        decoded = samples * max(directory.numbers(_BITS), default=1) // 8
        if decoded > most:
            raise UnusableError(f"damaged ({decoded:,} bytes for {width} x {height} pixels)")
        for tag in (_STRIP_OFFSETS, _TILE_OFFSETS):
            count = directory.tags.get(tag, (0, 0, b""))[1]
            if count > 2 * needed + 1024:
                raise UnusableError(f"damaged ({count} strips or tiles where {needed} are needed)")
        inside = (max(0, min(size, stored - start)) for start, size in directory.places)
        packed = sum(inside)
        plain = directory.number(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
        if packed > stored + _SHARED and not (plain and packed <= decoded):  # equal strips, once
            raise UnusableError(f"damaged (strips or tiles of {packed:,} bytes)")


def jpeg_scans(directory: Directory, data: bytes) -> list[tuple[int, int]]:
    """Scans and pixels of each strip or tile in JPEG; none for other compressions."""
    width, height = directory.size
    across, down = directory.segment
    if directory.number(_COMPRESSION) == _OLD_JPEG:
        return [(data.count(JPEG_SCAN), width * height)]
    if directory.number(_COMPRESSION) != _JPEG:
        return []
    return [
        (data.count(JPEG_SCAN, start, start + size), across * down)
        for start, size in directory.places
    ]


def bands_of_tiff(data: bytes, directory: Directory, pixels: int) -> Iterator[bytes] | None:
    """The picture as TIFF files of about `pixels` pixels each, from the top; None: not divisible.

    Divisible is a picture in strips or tiles, or one uncompressed strip. Each file holds whole
    strips or rows of tiles as they are, so any decoder gives the same pixels.
    """
    width, height = directory.size
    across, down = directory.segment
    if across * down == 0 or directory.number(_COMPRESSION, 1) == _OLD_JPEG:
        return None
    kinds = {kind for tag, (kind, _, _) in directory.tags.items() if tag in _DECODING}
    if kinds & {16, 17, 18}:
        return None  # BigTIFF has them only
    tiled = directory.tiled
    offsets = directory.numbers(_TILE_OFFSETS if tiled else _STRIP_OFFSETS)
    sizes = directory.numbers(_TILE_SIZES if tiled else _STRIP_SIZES)
    if len(offsets) == 1 and not tiled and directory.number(_COMPRESSION, 1) == _UNCOMPRESSED:
        line = -(-width * _bits_per_pixel(directory) // 8)
        down = max(1, pixels // width)
        starts = range(0, height, down)
        offsets = tuple(offsets[0] + start * line for start in starts)
        sizes = tuple(min(down, height - start) * line for start in starts)
    grid = _Grid(directory, offsets, sizes, -(-width // across), -(-height // down), down)
    if grid.rows < 2 or not len(offsets) == len(sizes) == grid.columns * grid.rows * grid.planes:
        return None
    together = max(1, pixels // (width * down))  # rows of segments in a band
    return (
        grid.band(data, first, min(first + together, grid.rows))
        for first in range(0, grid.rows, together)
    )


def _bits_per_pixel(directory: Directory) -> int:
    bits = directory.numbers(_BITS) or (1,)
    return sum(bits) * (directory.samples if len(bits) == 1 else 1)


@dataclass(frozen=True)
class _Grid:
    """Strips or tiles: where they begin in the file, their bytes, how many across and down.

    down: height of a segment, pixels.
    """

    directory: Directory
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    columns: int
    rows: int
    down: int

    @property
    def planes(self) -> int:
        return self.directory.planes

    def band(self, data: bytes, first: int, stop: int) -> bytes:
        """A TIFF of the rows of segments `first` up to `stop`."""
        order = self.directory.order
        parts = [
            data[self.offsets[place] : self.offsets[place] + self.sizes[place]]
            for plane in range(self.planes)
            for place in range(
                (plane * self.rows + first) * self.columns,
                (plane * self.rows + stop) * self.columns,
            )
        ]
        width, height = self.directory.size
        tags = {tag: value for tag, value in self.directory.tags.items() if tag in _DECODING}

        def put(tag: int, *values: int) -> None:
            tags[tag] = (4, len(values), struct.pack(f"{order}{len(values)}I", *values))

        put(_WIDTH, width)
        put(_HEIGHT, min(stop * self.down, height) - first * self.down)
        if tiled := self.directory.tiled:
            put(_TILE_SIZES, *map(len, parts))
        else:
            put(_ROWS_PER_STRIP, self.down)
            put(_STRIP_SIZES, *map(len, parts))
        place_tag = _TILE_OFFSETS if tiled else _STRIP_OFFSETS
        first_value = 8 + 2 + 12 * (len(tags) + 1) + 4  # where values of over 4 bytes begin
        inside = 4 * len(parts) + sum(len(value) for _, _, value in tags.values())
        ends = [first_value + inside + len(tags)]
        for part in parts:
            ends.append(ends[-1] + len(part))
        put(place_tag, *ends[:-1])
        head = _serialized(order, tags, first_value)
        return b"".join([head, b"\0" * (ends[0] - len(head)), *parts])


def _serialized(order: str, tags: Tags, offset: int) -> bytes:
    """A TIFF's header and directory; values of over 4 bytes from `offset` on."""
    head = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}IH", 8, len(tags))]
    values = []
    for tag, (kind, count, place) in sorted(tags.items()):
        value = bytes(place)
        held = value.ljust(4, b"\0")
        if len(value) > 4:
            held = struct.pack(f"{order}I", offset)
            values.append(value + b"\0" * (len(value) % 2))
            offset += len(values[-1])
        head.append(struct.pack(f"{order}HHI", tag, kind, count) + held)
    return b"".join([*head, b"\0" * 4, *values])
