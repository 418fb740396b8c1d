"""Damage to the fields of BMP headers, the numbers of PNM and the tags of TIFF."""

import random
import struct

from benchmarks.fuzz import mutations

SIZES = (0, 1, 2, 255, 4000, 16383, 65535, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
# by name: bytes of a field, of a type that most readers use
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_BMP_FIELDS = {2: 4, 10: 4, 14: 4, 18: 4, 22: 4, 26: 2, 28: 2, 30: 4, 34: 4, 38: 4, 42: 4, 46: 4,
               50: 4, 54: 4, 58: 4}  # fmt: skip


def mutate_bmp(data: bytes, rng: random.Random) -> bytes:
    """Fields of the header of a BMP: offsets, sizes, bits, compression, colours."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.choice(list(_BMP_FIELDS))
        size = _BMP_FIELDS[place]
        usual = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 52, 56, 64, 108, 124)
        number = rng.choice((rng.choice(usual), rng.choice(SIZES), -rng.choice(SIZES)))
        changed[place : place + size] = (number % 256**size).to_bytes(size, "little")
    return bytes(changed)


def mutate_pnm(data: bytes, rng: random.Random) -> bytes:
    """The kind, the numbers, blanks and comments of a PBM, PGM, PPM or PFM."""
    words = data.split(maxsplit=4)
    if len(words) < 4:
        return mutations.flip_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(4)
        kinds = (
            "P1",
            "P2",
            "P3",
            "P4",
            "P5",
            "P6",
            "Pf",
            "PF",
            "P7",
            "P0CMYK",
            "PyRGBA",
            "PyP",
            "Py",
        )
        sizes = (
            *map(str, SIZES),
            "-1",
            "-1.0",
            "1e9",
            "0x10",
            "255",
            "256",
            "65535",
            "65536",
            "9" * 5000,
        )
        words[place] = rng.choice(sizes if place else kinds).encode()
    between = (b" ", b"\n", b"\r", b"\t", b"\n# x\n", b"#" * 2000 + b"\n", b"\x0b", b"#\r")
    gaps = [rng.choice(between) for _ in words]
    return b"".join(word + gap for word, gap in zip(words, gaps, strict=True))


def mutate_tiff(data: bytes, rng: random.Random) -> bytes:
    """Tags of the first directory of a TIFF: number, type, count, value; where the next one is."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    pointer, head, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (place,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    (number,) = struct.unpack_from(order + head, data, place)
    first, step = place + struct.calcsize(order + head), 20 if big else 12
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        row = first + step * rng.randrange(number)
        tag, kind, count = struct.unpack_from(order + entry, changed, row)
        value = row + struct.calcsize(order + entry)
        end = first + step * number
        choice = rng.randrange(9)
        if choice == 0:
            tag = rng.choice((254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317,
                              320, 322, 323, 324, 325, 330, 338, 339, 347, 34665, 34675, 34853,
                              50838, 65000, 0))  # fmt: skip
        elif choice == 1:
            kind = rng.choice((*_TYPE_SIZES, 0, 14, 255, 65535))
        elif choice == 2:
            count = rng.choice((0, 1, 2, 3, 5, 1000, *SIZES))
        elif choice == 3:
            struct.pack_into(order + pointer, changed, end, rng.choice((0, place, 8, 1, 2**31)))
        elif choice == 4:
            struct.pack_into(order + head, changed, place, rng.choice((0, 1, number + 1, 65535)))
        else:
            width = min(_TYPE_SIZES.get(kind, 4), 8)
            if width * count > (8 if big else 4):  # change what it points to
                (value,) = struct.unpack_from(order + pointer, changed, value)
                value += width * rng.randrange(min(count, 1000))
            usual = (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 32773, 34712, 34925, 34933, 50000)
            amount = rng.choice((rng.choice(usual), rng.choice(SIZES), rng.randrange(len(data))))
            if value + width <= len(changed):
                packed = (amount % 256**width).to_bytes(width, "little" if order == "<" else "big")
                changed[value : value + width] = packed
            continue
        if choice < 3:
            struct.pack_into(order + entry, changed, row, tag, kind, count % 2**32)
    return bytes(changed)
