"""Damage to pictures that keeps their checksums and lengths right, so that decoders meet it.

A picture is taken apart into its parts (chunks of PNG and WebP, segments of JPEG), a part is
changed, missing, twice or elsewhere, and all is written as the format asks for. Formats that are
headers of fields are in field_mutations.py.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.fuzz import mutations
from benchmarks.fuzz.field_mutations import SIZES, mutate_bmp, mutate_pnm, mutate_tiff
from benchmarks.fuzz.mutations import Mutation

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_T = TypeVar("_T")
_BOMB = zlib.compress(bytes(2**26))  # 64 MiB of zeros
_EXIF = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0"  # up to the orientation


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def mutate_png(data: bytes, rng: random.Random) -> bytes:
    """Chunks of a PNG: the header, the deflated pixels, all that other programs add."""
    chunks, place = [], len(PNG_MAGIC)
    while place + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    added: tuple[tuple[bytes, bytes], ...] = (
        *((b"PLTE", rng.randbytes(rng.choice((0, 3, 5, 768, 3000)))) for _ in range(1)),
        *((kind, b"") for kind in (b"tRNS", b"gAMA", b"cHRM", b"eXIf", b"IDAT", b"IEND", b"zzZZ")),
        (b"tRNS", rng.randbytes(rng.choice((1, 2, 6, 256, 300)))),
        (b"eXIf", _exif(rng)),
        (b"zTXt", b"Raw profile type exif\0\0" + _BOMB),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _BOMB),
        (b"iCCP", b"x\0\0" + _BOMB),
        (b"tEXt", b"x" * 2**20),
        (b"acTL", struct.pack(">II", rng.choice(SIZES), rng.choice(SIZES))),
        (
            b"fcTL",
            struct.pack(">IIIIIHHBB", 0, *(rng.choice(SIZES) for _ in range(4)), 1, 1, 0, 0),
        ),
        (b"fdAT", struct.pack(">I", rng.choice(SIZES))),
        (b"IHDR", chunks[0][1]),
    )
    kind = rng.randrange(4)
    if kind == 0:
        chunks[0] = (b"IHDR", _png_header(chunks[0][1], rng))
    elif kind == 1:
        place = rng.choice([n for n, (name, _) in enumerate(chunks) if name == b"IDAT"])
        pixels = zlib.decompressobj().decompress(chunks[place][1], 2**26)
        packed = zlib.compress(_bytes_changed(pixels, rng), rng.choice((0, 9)))
        chunks[place] = (b"IDAT", rng.choice((packed, packed[:-4], _BOMB, packed + _BOMB)))
    else:
        chunks = _parts_changed(chunks, added, _content_changed, rng)
    return PNG_MAGIC + b"".join(png_chunk(*chunk) for chunk in chunks)


def _png_header(header: bytes, rng: random.Random) -> bytes:
    fields = list(struct.unpack(">IIBBBBB", header))
    for _ in range(rng.choice((1, 1, 2, 3))):
        field = rng.randrange(7)
        fields[field] = rng.choice(SIZES) if field < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16))
    return struct.pack(">IIBBBBB", *fields)


def mutate_jpeg(data: bytes, rng: random.Random) -> bytes:
    """Segments of a JPEG: frames, tables, scans, side data; the coded pixels stay or are cut."""
    segments: list[tuple[bytes, bytes]] = []
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xD9:
        (size,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + size
        if data[place + 1] == 0xDA:  # a scan goes up to the next marker that is none inside it
            match = re.compile(b"\xff[^\0\xd0-\xd7]").search(data, end)
            stop = match.start() if match else len(data)
            segments.append((data[place : place + 2], data[place + 4 : stop]))
            place = stop
            continue
        segments.append((data[place : place + 2], data[place + 4 : end]))
        place = end
    added = (
        (b"\xff\xe1", b"Exif\0\0" + _exif(rng)),
        (b"\xff\xe1", b"Exif\0\0" + rng.randbytes(40)),
        (b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><"),
        (b"\xff\xe2", b"ICC_PROFILE\0" + bytes(rng.choices(range(256), k=2)) + rng.randbytes(99)),
        (b"\xff\xe2", b"MPF\0" + rng.randbytes(60)),
        (b"\xff\xee", b"Adobe\0\x64\0\0\0\0" + bytes([rng.choice((0, 1, 2, 255))])),
        (b"\xff\xdd", struct.pack(">H", rng.choice((0, 1, 65535)))),
        (b"\xff\xdc", struct.pack(">H", rng.choice((0, 1, 65535)))),
        (b"\xff\xfe", b"comment" * 9000),
        *(segment for segment in segments if segment[0] == b"\xff\xda"),
    )
    for _ in range(rng.choice((1, 1, 2))):
        frames = [n for n, (mark, _) in enumerate(segments) if b"\xff\xc0" <= mark <= b"\xff\xc3"]
        kind = rng.randrange(5)
        if kind == 0 and frames:
            place = rng.choice(frames)
            segments[place] = _jpeg_frame(*segments[place], rng)
        elif kind == 1:
            scans = [segment for segment in segments if segment[0] == b"\xff\xda"]
            segments += scans * rng.choice((1, 30, 2000))
        else:
            segments = _parts_changed(segments, added, _content_changed, rng)
    out = [b"\xff\xd8"]
    for mark, content in segments:
        size = len(content) + 2
        if mark == b"\xff\xda":  # only the head of a scan is counted
            size = 6 + 2 * content[0] if content else 2
        out += [mark, struct.pack(">H", min(size, 65535)), content]
    ending = rng.choice((b"\xff\xd9", b"\xff\xd9", b"", b"\xff\xd9" + data, b"\xff\xd8\xff\xd9"))
    return b"".join(out) + ending


def _jpeg_frame(mark: bytes, content: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    """Another kind of frame, precision, size, number of components or sampling."""
    changed = bytearray(content)
    kind = rng.randrange(4)
    if kind == 0:
        return b"\xff" + bytes(
            [rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB, 0xC5))]
        ), content
    if kind == 1:
        changed[0] = rng.choice((0, 1, 12, 16, 255))
    elif kind == 2:
        sides = (rng.choice(SIZES) % 65536, rng.choice(SIZES) % 65536)
        changed[1:5] = struct.pack(">HH", *sides)
    else:
        changed[5 + rng.randrange(len(changed) - 5)] = rng.choice((0, 1, 2, 4, 0x11, 0x44, 0xFF))
    return mark, bytes(changed)


def mutate_webp(data: bytes, rng: random.Random) -> bytes:
    """Chunks of a WebP, with right lengths."""
    chunks, place = [], 12
    while place + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, place + 4)
        chunks.append((data[place : place + 4], data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    side = (struct.pack("<I", rng.choice(SIZES))[:3], struct.pack("<I", rng.choice(SIZES))[:3])
    canvas = bytes([rng.randrange(64), 0, 0, 0]) + side[0] + side[1]
    added = (
        (b"VP8X", canvas),
        (b"ANIM", rng.randbytes(6)),
        (b"ANMF", bytes(6) + side[0] + side[1] + rng.randbytes(4) + chunks[-1][0] + chunks[-1][1]),
        (b"ALPH", rng.randbytes(20)),
        (b"EXIF", _exif(rng)),
        (b"XMP ", b"<x:xmpmeta"),
        (b"ICCP", rng.randbytes(200)),
        (b"zzzz", bytes(1000)),
    )
    chunks = _parts_changed(chunks, added, _content_changed, rng)
    if rng.random() < 0.3:
        chunks.insert(0, (b"VP8X", canvas))
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _exif(rng: random.Random) -> bytes:
    """EXIF with some orientation, or a directory that is damaged."""
    whole = _EXIF + bytes([rng.choice((0, 1, 3, 6, 8, 9, 255)), 0, 0, 0]) + b"\0\0\0\0"
    return rng.choice((whole, whole, mutations.write_numbers(whole, rng), whole[:20], b""))


def _bytes_changed(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((*mutations.BYTES, lambda *_: b""))(data, rng)


def _content_changed(part: tuple[bytes, bytes], rng: random.Random) -> tuple[bytes, bytes]:
    return part[0], _bytes_changed(part[1], rng)


def _parts_changed(
    parts: Sequence[_T],
    added: Sequence[_T],
    change: Callable[[_T, random.Random], _T],
    rng: random.Random,
) -> list[_T]:
    """A part changed, missing, twice, many times, elsewhere, or another one between."""
    changed = list(parts)
    place = rng.randrange(len(changed)) if changed else 0
    kind = rng.randrange(7)
    if not changed or kind == 0:
        changed.insert(place, rng.choice(added))
    elif kind == 1:
        changed[place] = change(changed[place], rng)
    elif kind == 2:
        del changed[place]
    elif kind == 3:
        changed[place:place] = [changed[place]] * rng.choice((1, 2, 1000))
    elif kind == 4:
        rng.shuffle(changed)
    elif kind == 5:
        changed[place:place] = [rng.choice(added)] * rng.choice((1, 2, 50))
    else:
        changed[place], changed[0] = changed[0], changed[place]
    return changed


BY_ENDING: dict[str, Mutation] = {
    ".png": mutate_png,
    ".jpg": mutate_jpeg,
    ".webp": mutate_webp,
    ".bmp": mutate_bmp,
    **dict.fromkeys((".pbm", ".pgm", ".ppm", ".pfm"), mutate_pnm),
    ".tif": mutate_tiff,
}
