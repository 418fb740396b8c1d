"""Where decoded squares are collected: in memory, or in a file once they outgrow the budget.

Both kinds take squares uint8 [1 or C, S, S] one by one; gray ones are spread to C channels.
"""

import errno
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.runtime.array_files import remove_stale, seal
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import machine_trouble
from cvgssl.runtime.places import size_text

_PREFIX = ".writing-"
_ABANDONED_S = 600  # a living writer touches its file far more often


class MemoryRows:
    """Squares in one array allocated for `capacity` of them; untouched pages cost nothing."""

    def __init__(self, capacity: int, channels: int, side: int) -> None:
        self.channels = channels
        try:
            self._pixels = np.empty((capacity, channels, side, side), np.uint8)
        except MemoryError as error:
            raise MachineError(f"{capacity} pictures: {machine_trouble(error)}") from error
        self._count = 0

    def append(self, square: NDArray[np.uint8]) -> None:
        """Add one square [C, S, S], or [1, S, S] of gray."""
        self._pixels[self._count] = square
        self._count += 1

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        yield from self._pixels[: self._count]

    def discard(self) -> None:
        """Free the array."""
        self._pixels = self._pixels[:0].copy()

    def finish(self) -> NDArray[np.uint8]:
        """The array, read-only [N, C, S, S]."""
        pixels = self._pixels[: self._count]
        pixels.flags.writeable = False
        return pixels


class FileRows:
    """Squares in a .npy file that is written aside and appears whole under its final name.

    Raises UserError, naming the folder and the remedy, when the disk is full or not writable.
    """

    def __init__(self, folder: Path, capacity: int, channels: int, side: int) -> None:
        self.channels = channels
        self._shape = (channels, side, side)
        self._count = 0
        with naming_the_remedy(folder):
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
            remove_stale(folder)
            _check_space(folder, capacity * channels * side * side)
            handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".npy", dir=folder)
        self._aside = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._write_header()
        self._start = self._file.tell()

    def append(self, square: NDArray[np.uint8]) -> None:
        """Add one square [C, S, S], or [1, S, S] of gray."""
        with naming_the_remedy(self._aside.parent):
            self._file.write(np.broadcast_to(square, self._shape).tobytes())
        self._count += 1

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        with naming_the_remedy(self._aside.parent):
            self._file.flush()
        size = math.prod(self._shape)
        with self._aside.open("rb") as file:
            file.seek(self._start)
            for _ in range(self._count):
                yield np.frombuffer(file.read(size), np.uint8).reshape(self._shape)

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            self._file.close()
        self._aside.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Complete the header, flush to disk and move the file to `path`."""
        with naming_the_remedy(path.parent):
            self._file.seek(0)
            self._write_header()
            self._file.close()
            seal(self._aside)
            with self._aside.open("rb+") as file:
                os.fsync(file.fileno())
            self._aside.replace(path)

    def _write_header(self) -> None:
        # NumPy pads the header so that a longer first axis keeps its length
        layout = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, layout)


def remove_abandoned(folder: Path) -> None:
    """Remove files that a killed process left half-written."""
    for path in folder.glob(_PREFIX + "*"):
        with suppress(OSError):  # another process may be quicker
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{size_text(needed)} needed, {size_text(free)} free")


@contextmanager
def naming_the_remedy(folder: Path) -> Iterator[None]:
    """Turn a failure to write the cache into a UserError."""
    try:
        yield
    except OSError as error:
        if trouble := machine_trouble(error):
            raise MachineError(f"{folder}: {trouble}") from error
        raise UserError(
            f"{folder}: the picture cache cannot be written ({error.strerror}); "
            "set CVGSSL_CACHE to a folder that can be written and has space"
        ) from error
