"""Damage to what a Parquet file says about its pages, with all places and lengths right.

The footer and the headers of the pages are structures of Thrift's compact protocol. They are read
as trees, numbers of one of them are changed, and the file is laid out again.
"""

import random
import struct
from dataclasses import dataclass
from typing import Any

_NUMBERS = (0, 1, -1, 7, 100, 2**20, 2**27, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)
_BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = 3, (4, 5, 6), 7, 8, (9, 10), 12
# numbers of fields: of the footer, of a chunk and what is said of it, of a page's header
_GROUPS, _CHUNKS, _ABOUT = 4, 1, 3
_FIRST_PAGE, _DICTIONARY, _STORED = 9, 11, 7
_PAGE_STORED = 3


@dataclass
class Node:
    """A value of Thrift: a number, bytes, a list of nodes, or nodes by field number."""

    kind: int
    value: Any

    def at(self, *fields: int) -> Any:
        """The value some fields below."""
        node = self
        for field in fields:
            node = node.value[field]
        return node.value


def mutate_claims(data: bytes, rng: random.Random) -> bytes:
    """One to four numbers of the footer or of a page's header become others."""
    footer, chunks = take_apart(data)
    headers = [header for pages in chunks for header, _ in pages]
    tree = footer if rng.random() < 0.4 else rng.choice(headers)
    for header, body in (page for pages in chunks for page in pages):
        header.value[_PAGE_STORED].value = len(body)
    lay_out(footer, chunks)
    for node in rng.choices(list(_integers(tree)), k=rng.choice((1, 1, 2, 4))):
        node.value = rng.choice((*_NUMBERS, rng.randrange(-(2**20), 2**20)))
    return put_together(footer, chunks)


def take_apart(data: bytes) -> tuple[Node, list[list[tuple[Node, bytes]]]]:
    """The footer, and the pages of each chunk: header and body."""
    (length,) = struct.unpack("<I", data[-8:-4])
    footer, _ = _read(data, len(data) - 8 - length, _STRUCT)
    chunks = []
    for about in abouts(footer):
        place = about.value.get(_DICTIONARY, about.value[_FIRST_PAGE]).value
        end, pages = place + about.at(_STORED), []
        while place < end:
            header, place = _read(data, place, _STRUCT)
            pages.append((header, data[place : place + header.at(_PAGE_STORED)]))
            place += header.at(_PAGE_STORED)
        chunks.append(pages)
    return footer, chunks


def put_together(footer: Node, chunks: list[list[tuple[Node, bytes]]]) -> bytes:
    """The file; places of pages in the footer are taken as they are."""
    pages = (_written(header) + body for pages in chunks for header, body in pages)
    end = _written(footer)
    return b"".join((b"PAR1", *pages, end, struct.pack("<I", len(end)), b"PAR1"))


def lay_out(footer: Node, chunks: list[list[tuple[Node, bytes]]]) -> None:
    """Write into the footer where the pages are, if nothing else changes."""
    now = 4
    for about, pages in zip(abouts(footer), chunks, strict=True):
        start = now
        for number, (header, body) in enumerate(pages):
            if number == (_DICTIONARY in about.value):
                about.value[_FIRST_PAGE].value = now
            now += len(_written(header)) + len(body)
        if _DICTIONARY in about.value:
            about.value[_DICTIONARY].value = start
        about.value[_STORED].value = now - start


def abouts(footer: Node) -> list[Node]:
    """What the footer says of each chunk: a column in a group of rows."""
    groups = footer.at(_GROUPS)
    return [chunk.value[_ABOUT] for group in groups for chunk in group.at(_CHUNKS)]


def _integers(node: Node) -> list[Node]:
    if node.kind in _INTEGERS:
        return [node]
    inside = node.value if node.kind in _LISTS else ()
    inside = node.value.values() if node.kind == _STRUCT else inside
    return [found for each in inside for found in _integers(each)]


def _read(data: bytes, place: int, kind: int) -> tuple[Node, int]:
    """A value of this kind, and the place after it."""
    if kind in (1, 2):  # true and false are kinds
        return Node(kind, None), place
    if kind in _INTEGERS:
        number, place = _read_number(data, place)
        return Node(kind, (number >> 1) ^ -(number & 1)), place
    if kind in (_BYTE, _DOUBLE, _BINARY):
        fixed = 1 if kind == _BYTE else 8
        size, place = _read_number(data, place) if kind == _BINARY else (fixed, place)
        return Node(kind, data[place : place + size]), place + size
    if kind in _LISTS:
        head, place = data[place], place + 1
        count, place = _read_number(data, place) if head >> 4 == 15 else (head >> 4, place)
        items = []
        for _ in range(count):
            truth = head & 15 in (1, 2)  # a byte in a list
            item, place = _read(data, place, _BYTE if truth else head & 15)
            items.append(Node(head & 15, item.value))
        return Node(kind, items), place
    fields, number = {}, 0
    while head := data[place]:
        number += head >> 4
        fields[number], place = _read(data, place + 1, head & 15)
    return Node(kind, fields), place + 1


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place


def _written(node: Node) -> bytes:
    if node.kind in (1, 2):
        return node.value or b""
    if node.kind in _INTEGERS:
        return _number(node.value << 1 if node.value >= 0 else -2 * node.value - 1)
    if node.kind in (_BYTE, _DOUBLE, _BINARY):
        size = _number(len(node.value)) if node.kind == _BINARY else b""
        return size + bytes(node.value)
    if node.kind in _LISTS:
        inner = node.value[0].kind if node.value else _STRUCT
        count = len(node.value)
        head = bytes([count << 4 | inner]) if count < 15 else bytes([0xF0 | inner]) + _number(count)
        return head + b"".join(map(_written, node.value))
    out, before = bytearray(), 0
    for number, value in sorted(node.value.items()):
        out += bytes([(number - before) << 4 | value.kind]) + _written(value)
        before = number
    return bytes(out) + b"\0"


def _number(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
