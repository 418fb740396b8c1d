"""Pictures decoded once into a compact uint8 array, in memory or memory-mapped from a cache.

N pictures, C channels (1 when every picture is gray, else 3), S the side of the square.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.dataset import Dataset, Pictures
from cvgssl.images.decoding import check_readable, decode_squares, hash_files, warn_if_dark
from cvgssl.images.geometry import Geometry
from cvgssl.images.picture_cache import CacheEntry, DecodingNotes
from cvgssl.images.picture_options import AS_USUAL, DecodingOptions
from cvgssl.images.rows import FileRows, MemoryRows, naming_the_remedy
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError

Advance = Callable[[int], None]


@dataclass
class DecodedFiles:
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
class DecodingJob:
    """Files to decode; a store over `memory_budget` bytes goes on disk.

    with_notes: whether what else decoding reports is kept of pictures in memory too.
    """

    paths: tuple[Path, ...]
    geometry: Geometry
    memory_budget: int
    cache_dir: Path
    options: DecodingOptions = AS_USUAL
    with_notes: bool = False

    def cached(self) -> DecodedFiles | None:
        """The decoded pictures of an earlier run, if no file has changed since."""
        if self._fits(channels=3):
            return None
        entry = self._entry()
        if not entry.candidates():  # then hashing the files would be in vain
            return None
        digests = hash_files(self.paths, self.options)
        loaded = entry.load(digests)
        if loaded is None:
            return None
        pixels, notes = loaded
        return DecodedFiles(pixels, digests, notes.unreadable, notes.brightest)

    def noted(self) -> DecodedFiles | None:
        """What an earlier run kept of pictures in memory, without pixels, if no file has changed.

        `pixels` gives them.
        """
        entry = self._entry()
        if not (self.with_notes and self._fits(channels=3) and entry.has_notes()):
            return None
        digests = hash_files(self.paths, self.options)
        try:
            notes = entry.notes(digests)
        except OSError:
            return None
        if notes is None:
            return None
        return DecodedFiles(digests=digests, unreadable=notes.unreadable, brightest=notes.brightest)

    def pixels(self, digests: Sequence[str]) -> NDArray[np.uint8]:
        """The pixels that `noted` left out; raises UserError when a file is another by now."""
        result = self.decoded(None)
        for path, before, now in zip(self.paths, digests, result.digests, strict=True):
            if before != now:
                raise UserError(f"{path}: changed while it was read; run the command again")
        return result.pixels

    def decoded(self, progress: Advance | None) -> DecodedFiles:
        """Decode all files; without `skip_corrupt` unreadable files leave no pixels behind."""
        result = DecodedFiles()
        rows = self._rows(channels=1)
        try:
            squares = decode_squares(self.paths, self.geometry, self.options)
            for row, square in enumerate(squares):
                result.digests.append(square.digest)
                if square.pixels is None:
                    result.unreadable[row] = square.reason
                else:
                    if len(square.pixels) > rows.channels:  # the first picture in colour
                        gray, rows = rows, self._rows(channels=3)
                        _move(gray, rows)
                    rows.append(square.pixels)
                if square.brightest is not None:
                    result.brightest = max(result.brightest or 0, square.brightest)
                if progress:
                    progress(1)
            usable = self.options.skip_corrupt and len(result.unreadable) < len(self.paths)
            if usable or not result.unreadable:
                result.pixels = self._kept(rows, result)
        finally:
            rows.discard()
        return result

    def _kept(self, rows: MemoryRows | FileRows, result: DecodedFiles) -> NDArray[np.uint8]:
        entry = self._entry()
        if isinstance(rows, MemoryRows):
            if self.with_notes:
                with suppress(OSError):  # the cache of embeddings warns of a disk that is full
                    entry.note(result.digests, DecodingNotes(result.unreadable, result.brightest))
                    entry.drop_outdated(result.digests)
            return rows.finish()
        with naming_the_remedy(self.cache_dir):
            entry.note(result.digests, DecodingNotes(result.unreadable, result.brightest))
        rows.finish(entry.path(result.digests))
        entry.drop_outdated(result.digests)
        loaded = entry.load(result.digests)
        if loaded is None:
            raise UserError(
                f"{self.cache_dir}: the picture cache does not hold what was written to it; "
                "set CVGSSL_CACHE to another disk"
            )
        return loaded[0]

    def _entry(self) -> CacheEntry:
        limit = self.options.max_megapixels
        return CacheEntry.of(self.cache_dir, self.paths, self.geometry, limit)

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


GIB = 2**30


@dataclass(frozen=True)
class LoadedDataset:
    """A data set with its pixels; `skipped` maps the files left out to the reason."""

    dataset: Dataset
    train: Pictures
    test: Pictures
    skipped: dict[Path, str]


def load_dataset_pictures(
    dataset: Dataset,
    geometry: Geometry,
    options: DecodingOptions = AS_USUAL,
    *,
    memory_budget: int = GIB,
    cache_dir: Path | None = None,
    late: bool = False,
    progress: Advance | None = None,
) -> LoadedDataset:
    """Decode train and test alike; see `load_pictures`. The tables keep the readable rows only.

    Both splits have one channel only when every picture of both is gray; a gray picture with
    three equal channels is the same picture, so nothing of test/ reaches train/ by this.
    Raises UserError also when skipping leaves a class of train/ or all of test/ empty.
    """
    train, test = dataset.train, dataset.test
    pictures, unreadable = load_pictures(
        train.paths + test.paths,
        geometry,
        options,
        memory_budget=memory_budget,
        cache_dir=cache_dir,
        late=late,
        progress=progress,
    )
    readable = np.array([row for row in range(len(train) + len(test)) if row not in unreadable])
    train = train.take(readable[readable < len(train)].astype(np.intp))
    test = test.take(
        (readable[readable >= len(dataset.train)] - len(dataset.train)).astype(np.intp)
    )
    empty = [name for name, n in zip(train.classes, train.counts(), strict=True) if not n]
    if empty:
        raise UserError(f"{dataset.root}: no readable train picture of {', '.join(empty)}")
    if not len(test):
        raise UserError(f"{dataset.root}: no readable test picture")
    paths = dataset.train.paths + dataset.test.paths
    return LoadedDataset(
        Dataset(dataset.root, train, test),
        pictures.part(0, len(train)),
        pictures.part(len(train), len(pictures)),
        {paths[row]: reason for row, reason in unreadable.items()},
    )


def load_pictures(
    paths: Sequence[Path],
    geometry: Geometry,
    options: DecodingOptions = AS_USUAL,
    *,
    memory_budget: int = GIB,
    cache_dir: Path | None = None,
    late: bool = False,
    progress: Advance | None = None,
) -> tuple[Pictures, dict[int, str]]:
    """Decode and resize every file once, in threads; order is kept.

    memory_budget: bytes. A larger store is memory-mapped from a file in `cache_dir` (default:
        `default_cache_dir()`) and read from there again as long as no picture file changes.
    late: for those who may need no pixels: pictures that an earlier such call decoded, and that
        fit into memory, are only hashed; they are decoded when their pixels are asked for.
    With `skip_corrupt` unreadable files are left out; the second item maps their rows to the
    reason.
    progress: called with the number of newly finished files.

    Raises UserError: without `skip_corrupt` when files are unreadable, naming them all; when no
    file is readable; when the cache cannot be written.
    """
    job = DecodingJob(
        tuple(paths),
        geometry,
        memory_budget,
        cache_dir or default_cache_dir(),
        options,
        late,
    )
    result = noted = job.noted()
    if result is None:
        result = job.cached()
    if result is None:
        result = job.decoded(progress)
    elif progress:
        progress(len(paths))
    reasons = {paths[row]: reason for row, reason in result.unreadable.items()}
    check_readable(reasons, len(paths), options.skip_corrupt)
    warn_if_dark(result.brightest, geometry)
    kept = tuple(d for row, d in enumerate(result.digests) if row not in result.unreadable)
    held = result.pixels if noted is None else cache(partial(job.pixels, noted.digests))
    return Pictures(held, kept), result.unreadable
