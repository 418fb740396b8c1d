"""What a ZIP file (.npz, torch.save) costs to open."""

import struct
from pathlib import Path

MOST_BYTES = 2**23
"""Of the directory at the end; that of 20,000 members has about 2 million."""

_END, _END_64 = b"PK\5\6", b"PK\6\6"
_LONGEST_END = 22 + 2**16  # bytes, with a comment
_LOCATOR = 20  # bytes before the end that say where the end of a large archive is described


def check_directory(path: Path) -> None:
    """Raise ValueError for more members than any file of tensors or columns has.

    Python's reader makes an object of each before anything else can be asked of the archive.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_END))
        tail = file.read()
        place = tail.rfind(_END)
        if place < 0 or place + 22 > len(tail):
            return  # no archive, as its reader will say
        (directory,) = struct.unpack_from("<I", tail, place + 12)
        if place >= _LOCATOR:
            mark, _, start = struct.unpack_from("<4sIQ", tail, place - _LOCATOR)
            if mark == b"PK\6\7" and start < size:
                file.seek(start)
                record = file.read(56)
                if record.startswith(_END_64) and len(record) == 56:
                    directory = max(directory % (2**32 - 1), *struct.unpack_from("<Q", record, 40))
    if directory > MOST_BYTES:
        raise ValueError(f"a directory of {directory:,} bytes; at most {MOST_BYTES:,} are read")
