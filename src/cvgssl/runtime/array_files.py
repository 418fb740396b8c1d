"""Arrays in cache files that prove themselves: a damaged file is noticed, never used.

A file is a .npy (NumPy's format) with a seal of 12 bytes after it: a mark and the CRC-32 of all
before. `numpy.load` reads such a file as any other. Temporary files of `runtime.files.writing`
begin with a dot; whoever lists a cache folder asks for `[!.]*`.
"""

import errno
import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cvgssl.runtime.files import writing

_MARK = b"cvg-crc\n"
_SEAL = struct.Struct(f"<{len(_MARK)}sI")
_CHUNK = 2**22  # bytes of a file that are read at a time
_STALE = 86_400.0  # seconds after which nobody is writing a temporary file any more
_CANNOT_ALLOCATE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write `array`, of any shape, with its seal, whole or not at all."""
    with writing(path) as aside:
        with aside.open("wb") as file:
            _write_npy(file, np.asarray(array, order="C"))
        seal(aside)


def seal(path: Path) -> None:
    """Append the seal to a finished .npy file that was written by other means."""
    with path.open("r+b") as file:
        checksum = _checksum(file, file.seek(0, os.SEEK_END))
        file.write(_SEAL.pack(_MARK, checksum))


def open_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """The array of a sealed file, memory-mapped and read-only; None when it is missing or damaged.

    shape: what it must have; -1 means any length. The whole file is read once to check it
    (about 1 GB/s). Trouble of the machine (no file handles, no permission) raises OSError.
    """
    try:
        with path.open("rb") as file:
            body = file.seek(0, os.SEEK_END) - _SEAL.size
            if body <= 0:
                return None
            file.seek(body)
            mark, checksum = _SEAL.unpack(file.read(_SEAL.size))
            if mark != _MARK or _checksum(file, body) != checksum:
                return None
    except FileNotFoundError:
        return None
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, FileNotFoundError):
        return None
    fits = len(array.shape) == len(shape) and all(
        wanted in (-1, have) for wanted, have in zip(shape, array.shape, strict=True)
    )
    return array if fits and array.dtype == np.dtype(dtype) else None


def allocate(file: IO[bytes], size: int) -> None:
    """Give a file `size` bytes that the disk really has.

    A sparse file that is written through a memory map kills the process (SIGBUS) when the disk
    is full; this raises OSError before. File systems that cannot allocate get a sparse file.
    """
    if size > 0 and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
    file.truncate(size)


def remove_stale(folder: Path) -> None:
    """Remove temporary files (`.*`) that a killed process left in `folder` a day ago or earlier."""
    with suppress(OSError):
        for path in folder.glob(".*"):
            with suppress(OSError):
                if path.is_file() and path.stat().st_mtime < time.time() - _STALE:
                    path.unlink()


def _write_npy(file: IO[bytes], array: NDArray[Any]) -> None:
    """As numpy.save, which reports a full disk in words of its own and without an error number."""
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(array.reshape(-1).view(np.uint8).data)


def _checksum(file: IO[bytes], size: int) -> int:
    """CRC-32 of the first `size` bytes; leaves the file's position after them."""
    file.seek(0)
    checksum = 0
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        checksum = zlib.crc32(chunk, checksum)
        size -= len(chunk)
    return checksum
