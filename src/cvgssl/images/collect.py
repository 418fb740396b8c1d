"""Decoding a list of files into one array, or finding that array in the cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.cache import CacheEntry
from cvgssl.images.decoding import decode_squares, hash_files
from cvgssl.images.geometry import Geometry
from cvgssl.images.rows import FileRows, MemoryRows, naming_the_remedy

Progress = Callable[[int], None]


@dataclass
class Found:
    """What the files hold.

    pixels: uint8 [N, C, S, S] of the N readable files.
    digests: one per file, readable or not.
    unreadable: row in the list of files -> reason.
    brightest: brightest sample of the 16-bit files, if there are any.
    """

    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    digests: list[str] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    brightest: int | None = None


@dataclass(frozen=True)
class Job:
    """Files to decode in `workers` threads; a store over `memory_budget` bytes goes on disk."""

    paths: tuple[Path, ...]
    geometry: Geometry
    memory_budget: int
    cache_dir: Path
    workers: int = 0

    def cached(self) -> Found | None:
        """The decoded pictures of an earlier run, if no file has changed since."""
        if self._fits(channels=3):
            return None
        entry = self._entry()
        if not entry.candidates():  # then hashing the files would be in vain
            return None
        digests = hash_files(self.paths, self.workers)
        loaded = entry.load(digests)
        if loaded is None:
            return None
        pixels, notes = loaded
        unreadable = {int(row): str(reason) for row, reason in notes["unreadable"].items()}
        return Found(pixels, digests, unreadable, notes["brightest"])

    def decoded(self, skip_corrupt: bool, progress: Progress | None) -> Found:
        """Decode all files; without `skip_corrupt` unreadable files leave no pixels behind."""
        found = Found()
        rows = self._rows(channels=1)
        try:
            squares = decode_squares(self.paths, self.geometry, self.workers)
            for row, square in enumerate(squares):
                found.digests.append(square.digest)
                if square.pixels is None:
                    found.unreadable[row] = square.reason
                else:
                    if len(square.pixels) > rows.channels:  # the first picture in colour
                        gray, rows = rows, self._rows(channels=3)
                        _move(gray, rows)
                    rows.append(square.pixels)
                if square.brightest is not None:
                    found.brightest = max(found.brightest or 0, square.brightest)
                if progress:
                    progress(1)
            usable = skip_corrupt and len(found.unreadable) < len(self.paths)
            if usable or not found.unreadable:
                found.pixels = self._kept(rows, found)
        finally:
            rows.discard()
        return found

    def _kept(self, rows: MemoryRows | FileRows, found: Found) -> NDArray[np.uint8]:
        if isinstance(rows, MemoryRows):
            return rows.finish()
        entry = self._entry()
        notes = {"unreadable": found.unreadable, "brightest": found.brightest}
        with naming_the_remedy(self.cache_dir):
            entry.note(found.digests, notes)
        rows.finish(entry.path(found.digests))
        entry.drop_outdated(found.digests)
        loaded = entry.load(found.digests)
        assert loaded is not None
        return loaded[0]

    def _entry(self) -> CacheEntry:
        return CacheEntry.of(self.cache_dir, self.paths, self.geometry)

    def _fits(self, channels: int) -> bool:
        return len(self.paths) * channels * self.geometry.size**2 <= self.memory_budget

    def _rows(self, channels: int) -> MemoryRows | FileRows:
        count, side = len(self.paths), self.geometry.size
        if self._fits(channels):
            return MemoryRows(count, channels, side)
        return FileRows(self.cache_dir, count, channels, side)


def _move(source: MemoryRows | FileRows, target: MemoryRows | FileRows) -> None:
    try:
        for square in source:
            target.append(square)
    finally:
        source.discard()
