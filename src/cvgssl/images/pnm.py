"""Netpbm files (PBM, PGM, PPM) to exact numbers, block by block.

Pillow decodes most of them in Python, sample by sample, and rescales those of over 8 bits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.opening import UnusableError

_LONGEST_HEADER = 65536
_CHUNK = 2**20  # bytes of text that are parsed at a time
# a comment ends with its line, so that each byte can be read in one way only
_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_NUMBER = _GAP + rb"(\d{1,9})"
_HEADER = re.compile(rb"P(?:([14])" + _NUMBER * 2 + rb"|([2356])" + _NUMBER * 3 + rb")\s")
_OTHER_HEADER = re.compile(rb"P[0fy]\w{0,4}(?:" + _GAP + rb"[^\s#]{1,20}){3}\s")
_COMMENT = re.compile(rb"#[^\n\r]*[\n\r]?")


@dataclass(frozen=True)
class Header:
    """kind: the digit after P. white: the white level. start: where the samples begin."""

    kind: int
    width: int
    height: int
    white: int
    start: int

    @property
    def channels(self) -> int:
        """3 for colour, else 1."""
        return 3 if self.kind in (3, 6) else 1


def read_header(data: bytes) -> Header | None:
    """The header of P1 to P6; None for other bytes. Raises UnusableError for a broken one.

    Also for that of the kinds that Pillow reads, which goes over it byte by byte.
    """
    ours = re.match(rb"P[1-6][\s#]", data)
    match = (_HEADER if ours else _OTHER_HEADER).match(data[:_LONGEST_HEADER])
    if match is None:
        raise UnusableError("damaged (no header of a PBM, PGM or PPM file)")
    if not ours:
        return None
    bitmap = match[1] is not None
    kind, width, height, white = (
        (match[1], match[2], match[3], b"1") if bitmap else match.groups()[3:]
    )
    if not (int(width) and int(height) and 0 < int(white) < 65536):
        raise UnusableError("damaged (a width, height or white level out of range)")
    return Header(int(kind), int(width), int(height), int(white), match.end())


def blocks(data: bytes, header: Header, pixels: int) -> Iterator[NDArray[Any]]:
    """Samples, blocks of rows of about `pixels` pixels: uint8 or uint16 [h, W] or [h, W, 3].

    Up to white level 255 they are scaled to 0..255, else as the file has them.
    Raises UnusableError for a file that is too short, or brighter than its own white level.
    """
    samples_per_row = header.width * header.channels
    rows = max(1, pixels // header.width)
    samples = _text(data, header) if header.kind < 4 else _binary(data, header, rows)
    held: list[NDArray[Any]] = []
    count = done = 0
    while done < header.height:
        number = min(rows, header.height - done) * samples_per_row
        while count < number:
            part = next(samples, None)
            if part is None:
                raise UnusableError("truncated")
            held.append(_checked(part, header))
            count += len(part)
        joined = np.concatenate(held)
        held, count = [joined[number:]], len(joined) - number
        shape = (-1, header.width, 3) if header.channels == 3 else (-1, header.width)
        yield joined[:number].reshape(shape)
        done += number // samples_per_row


def _binary(data: bytes, header: Header, rows: int) -> Iterator[NDArray[Any]]:
    """Samples as the file has them; a bitmap's as 0 (black) and 1."""
    kind = ">u2" if header.white > 255 else "u1"
    line = -(-header.width // 8) if header.kind == 4 else header.width * header.channels
    step = np.dtype(kind).itemsize
    for first in range(0, header.height, rows):
        start = header.start + first * line * step
        count = min(rows, header.height - first) * line
        available = max(0, (len(data) - start) // step)
        part = np.frombuffer(data, kind, min(count, available), min(start, len(data)))
        if header.kind == 4:
            whole = part[: len(part) // line * line].reshape(-1, line)
            part = 1 - np.unpackbits(whole, axis=1)[:, : header.width].ravel()
        yield part
        if available < count:
            return


def _text(data: bytes, header: Header) -> Iterator[NDArray[Any]]:
    """Samples written as decimal numbers; digits of a bitmap need nothing between them."""
    place, rest = header.start, b""
    while place < len(data) or rest:
        chunk = rest + data[place : place + _CHUNK]
        place += _CHUNK
        end = len(chunk)
        if place < len(data) and b"#" in chunk:  # comments end with their line
            end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        elif place < len(data) and header.kind != 1:
            end = max(map(chunk.rfind, (b" ", b"\n", b"\r", b"\t"))) + 1
        rest, chunk = chunk[end:], chunk[:end]
        if len(rest) > 16 * _CHUNK:
            raise UnusableError("damaged (a line of over 16 MiB)")
        chunk = _COMMENT.sub(b"", chunk)
        if header.kind == 1:
            digits = np.frombuffer(b"".join(chunk.split()), np.uint8)
            if not np.isin(digits, (48, 49)).all():
                raise UnusableError("damaged (a bitmap with other digits than 0 and 1)")
            yield 49 - digits
        else:
            words = chunk.split()
            if max(map(len, words), default=0) > 10:
                raise UnusableError("damaged (a number of over 10 digits)")
            yield np.array(words, np.int64) if words else np.empty(0, np.int64)


def _checked(samples: NDArray[Any], header: Header) -> NDArray[Any]:
    """Samples held against the white level; those of up to 8 bits scaled to 0..255."""
    white = header.white
    if header.kind > 3 and white <= 255:  # too bright bytes have always counted as white
        return _scale(white)[samples] if white < 255 else samples
    brightest = int(samples.max(initial=0))
    if brightest > white or int(samples.min(initial=0)) < 0:
        raise UnusableError(f"damaged (value {brightest} over its own white level {white})")
    return samples.astype(np.uint16) if white > 255 else _scale(white)[samples]


def _scale(white: int) -> NDArray[np.uint8]:
    """The table that scales bytes to 0..255."""
    return np.array([min(255, round(value / white * 255)) for value in range(256)], np.uint8)
