"""What the pages of a Parquet file claim, before any of them is inflated.

A column is stored as pages, each with a header that says how large it is once inflated and how many
values it has. Arrow takes memory for that much, whatever the file's footer says; so the headers are
read here first. Both are structures of Thrift's compact protocol: fields with numbers, of which
those are named below that are needed.

References: https://github.com/apache/parquet-format (parquet.thrift, README),
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_MAGIC = b"PAR1"
_MOST_FOOTER = 2**23  # bytes; 20,000 groups of rows of a features file have about 7 million
_MOST_GROUPS = 20_000  # of rows
_MOST_PAGES = 400_000  # a page has about a million bytes
_HEADER_BYTES = (2**9, 2**17, 2**24)  # that are tried, the last as Arrow does

# numbers of fields
_ROWS, _GROUPS = 3, 4  # of the footer
_CHUNKS, _GROUP_ROWS = 1, 3  # of a group of rows
_ABOUT_CHUNK = 3  # of a chunk: the pages of a column in a group of rows
_PATH, _VALUES, _INFLATED, _STORED, _FIRST_PAGE, _DICTIONARY = 3, 5, 6, 7, 9, 11  # of that
_PAGE_INFLATED, _PAGE_STORED = 2, 3  # of a page's header
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 5, 7, 8
_PAGE_VALUES, _ENCODING, _ENCODING_2 = 1, 2, 4  # of these three
_DELTA_BYTE_ARRAY = 7  # texts by what they share with the one before: without bounds

Struct = dict[int, Any]


@dataclass
class Claim:
    """What the pages of a column take in memory and in the file, in bytes, and their values."""

    inflated: int = 0
    values: int = 0
    stored: int = 0


def page_claims(path: Path, columns: Collection[str]) -> dict[str, Claim]:
    """What the pages of these columns (names of the schema's uppermost level) claim.

    Raises ValueError for what no sound file has: pages outside the file, that several columns
    share, or without number; more rows than the file has bytes. Raises almost anything for a file
    that is none.
    """
    claims: dict[str, Claim] = {}
    pages = 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        footer = _footer(file, size)
        groups = footer.get(_GROUPS, [])
        if len(groups) > _MOST_GROUPS:
            raise ValueError(f"{len(groups):,} groups of rows; at most {_MOST_GROUPS:,} are read")
        rows = [group[_GROUP_ROWS] for group in groups]
        if min(rows, default=0) < 0 or sum(rows) != footer[_ROWS] or sum(rows) > size:
            raise ValueError(f"{footer[_ROWS]:,} rows in a file of {size:,} bytes")
        for group in groups:
            for chunk in group[_CHUNKS]:
                about = chunk[_ABOUT_CHUNK]
                name = about[_PATH][0].decode()
                if name not in columns:
                    continue
                if about[_VALUES] < group[_GROUP_ROWS]:
                    raise ValueError(f"{name} has fewer values than rows")
                claim = claims.setdefault(name, Claim())
                for page in _pages(file, size, about):
                    _add(claim, name, page)
                    pages += 1
                    if pages > _MOST_PAGES:
                        raise ValueError(f"more than {_MOST_PAGES:,} pages")
                claim.stored += about[_STORED]
    if sum(claim.stored for claim in claims.values()) > size:
        raise ValueError("columns share their pages")
    return claims


def _footer(file: BinaryIO, size: int) -> Struct:
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or length > size - 8:
        raise ValueError("it does not end as a Parquet file does")
    if length > _MOST_FOOTER:
        raise ValueError(f"a footer of {length:,} bytes; at most {_MOST_FOOTER:,} are read")
    file.seek(size - 8 - length)
    return _Reader(file.read(length)).struct()


def _pages(file: BinaryIO, size: int, about: Struct) -> Iterator[Struct]:
    """The headers of a chunk's pages, as far as Arrow reads them: up to its number of values."""
    first, dictionary = about[_FIRST_PAGE], about.get(_DICTIONARY, 0)
    place = dictionary if 0 < dictionary < first else first
    end = place + about[_STORED]
    if not 0 < place <= end <= size:
        raise ValueError("pages outside the file")
    left = about[_VALUES]
    while left > 0 and place < end:
        header, length = _header(file, place)
        place += length + header[_PAGE_STORED]
        if min(header[_PAGE_STORED], header[_PAGE_INFLATED]) < 0 or place > end:
            raise ValueError("pages outside their column")
        left -= _data(header)[_PAGE_VALUES] if _DICTIONARY_PAGE not in header else 0
        yield header
    if left > 0:
        raise ValueError("fewer values in the pages than the footer says")


def _header(file: BinaryIO, place: int) -> tuple[Struct, int]:
    """A page's header, and the bytes that it takes."""
    for most in _HEADER_BYTES:
        file.seek(place)
        reader = _Reader(file.read(most))
        try:
            return reader.struct(), reader.place
        except IndexError:  # it is longer
            continue
    raise ValueError("a page's header without end")


def _data(header: Struct) -> Struct:
    """Of a page of values what says how many; other pages have none."""
    page: Struct = header.get(_DATA_PAGE) or header.get(_DATA_PAGE_2) or {_PAGE_VALUES: 0}
    if not 0 <= page[_PAGE_VALUES] < 2**31:
        raise ValueError("a page with a number of values that cannot be")
    return page


def _add(claim: Claim, name: str, page: Struct) -> None:
    claim.inflated += page[_PAGE_INFLATED]
    for kind, encoding in ((_DATA_PAGE, _ENCODING), (_DATA_PAGE_2, _ENCODING_2)):
        if page.get(kind, {}).get(encoding) == _DELTA_BYTE_ARRAY:
            raise ValueError(f"{name} is stored as DELTA_BYTE_ARRAY; save it in another encoding")
    for kind in (_DATA_PAGE, _DATA_PAGE_2, _DICTIONARY_PAGE):
        claim.values += page.get(kind, {}).get(_PAGE_VALUES, 0)


class _Reader:
    """Values of Thrift's compact protocol, one after the other.

    Raises IndexError where the bytes end, and ValueError for a structure that has a field twice:
    readers do not agree on which of them counts.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def struct(self) -> Struct:
        """Number of a field -> value."""
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            if number in fields:
                raise ValueError("a field that is there twice")
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (4, 5, 6):  # whole numbers of 16, 32 and 64 bits
            value = self._number()
            if abs(value) >= 2 ** (31 if kind == 5 else 63):
                raise ValueError("a number that is too large for its kind")
            return value
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        if kind in (1, 2, 3):  # true, false and a byte, in a list
            return self._byte()
        if kind == 7:
            return self._bytes(8)
        if kind == 11:
            raise ValueError("a map, which no part of a Parquet file is")
        raise ValueError(f"a value of the unknown kind {kind}")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self.data) - self.place:  # a value takes a byte or more
            raise IndexError
        return [self._value(head & 15) for _ in range(count)]

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise IndexError
        self.place += count
        return self.data[self.place - count : self.place]

    def _byte(self) -> int:
        value = self.data[self.place]
        self.place += 1
        return value

    def _varint(self) -> int:
        """Groups of seven bits, the lowest first."""
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than ten bytes")

    def _number(self) -> int:
        """Zigzag: 0, -1, 1, -2, ..."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
