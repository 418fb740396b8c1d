"""JPEG files without what pixels do not depend on.

Pillow collects side data segment by segment, in time that grows with the square of their number,
and goes over bytes between segments one by one.
"""

import re
from collections.abc import Iterator

from cvgssl.images.opening import UnusableError

_SCAN, _WITHOUT_LENGTH = 0xDA, {0x01, *range(0xD0, 0xDA)}
_JFIF, _TELLING, _ADOBE = 0xE0, 0xE1, 0xEE  # segments of applications that count
_SIDE = {*range(0xE0, 0xF0), 0xFE}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MARKER = re.compile(b"\xff[^\0\xff]")
_MOST_TELLING = 2**20  # bytes of either kind that may tell the orientation
_MOST, _MOST_SEGMENTS = 2**22, 10_000  # that are kept: bytes, segments


def without_side_data(data: bytes) -> bytes:
    """A JPEG without profiles, previews, further pictures and comments before its first scan.

    What may give its orientation stays. Raises UnusableError for a great many segments. A segment
    that the file ends in stays, so that a damaged file remains one.
    """
    kept, end, left = [data[:2]], 2, dict.fromkeys((_EXIF, _XMP), _MOST_TELLING)
    for marker, start, stop in _segments(data):
        wanted = marker not in _SIDE or marker in (_JFIF, _ADOBE)
        for kind in left if marker == _TELLING else ():
            if data.startswith(kind, start + 4):
                left[kind] -= stop - start
                wanted = left[kind] >= 0
        if wanted:
            kept.append(data[start:stop])
        end = stop
    size = sum(map(len, kept))
    if size > _MOST or len(kept) > _MOST_SEGMENTS:
        raise UnusableError("damaged (a great many segments before its pixels)")
    return data if size == end else b"".join([*kept, data[end:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, and an empty one where the pixels begin."""
    place = 2
    while match := _MARKER.search(data, place):
        start, marker = match.start(), data[match.start() + 1]
        stop = start + 2
        if marker not in _WITHOUT_LENGTH:
            stop += max(2, int.from_bytes(data[stop : stop + 2], "big"))
        if marker == _SCAN or stop > len(data):
            yield marker, start, start
            return
        yield marker, start, stop
        place = stop
    yield _SCAN, len(data), len(data)
