"""Lists of labelled pictures, the currency between data folders and everything else.

N pictures, C channels (1 when every picture is gray, else 3), S the side of the square.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.names import comparable
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import printable


@dataclass(frozen=True)
class ImageTable:
    """Labelled pictures of one split.

    paths: N picture files.
    labels: int64 [N], indices into `classes`.
    classes: class names, sorted; the same for train and test of one data set.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        assert len(self.paths) == len(self.labels)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.intp]) -> "ImageTable":
        """The pictures in these rows, int [R], with all class names."""
        return ImageTable(tuple(self.paths[i] for i in rows), self.labels[rows], self.classes)

    def counts(self) -> NDArray[np.int64]:
        """Pictures per class, int64 [C]."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)


@dataclass(frozen=True)
class Dataset:
    """A train and a test split over the same classes. `root` is what the user named."""

    root: Path
    train: ImageTable
    test: ImageTable


def picture_names(table: ImageTable, root: Path) -> list[str]:
    """How draws and features call pictures: relative to the data folder, else the whole path.

    Letters are composed (NFC), so that all systems have the same names; see `images.names`.
    """
    return names_below(table.paths, root if root.is_dir() else root.parent)


def names_below(paths: Sequence[Path], base: Path) -> list[str]:
    """The names of pictures: paths relative to `base`, else whole, with composed letters.

    Raises UserError for two that would have the same name.
    """
    names = [
        comparable((path.relative_to(base) if path.is_relative_to(base) else path).as_posix())
        for path in paths
    ]
    if len(set(names)) < len(set(paths)):
        first: dict[str, Path] = {}
        for name, path in zip(names, paths, strict=True):
            if first.setdefault(name, path) != path:
                raise UserError(
                    f"{printable(str(path))}: another picture's name differs only in how its "
                    "letters are composed (Unicode NFC and NFD); rename one of them"
                )
    return names


def without_copies(
    contents: Iterable[Hashable], known: Sequence[Hashable] = ()
) -> tuple[NDArray[np.intp], dict[int, int]]:
    """Rows [R], ascending, of the first of each content that is not known; what others copy.

    The second is row -> place among `known`, the last of equal ones, with `contents` below them.
    For unlabelled pictures beside a data set: a copy of a test picture must influence nothing.
    """
    places = {content: place for place, content in enumerate(known)}
    rows, copies = [], {}
    for row, content in enumerate(contents):
        place = places.setdefault(content, len(known) + row)
        if place == len(known) + row:
            rows.append(row)
        else:
            copies[row] = place
    return np.array(rows, dtype=np.intp), copies


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures, or pictures that are decoded when their pixels are first asked for.

    held: the pixels, or what gives them.
    digests: SHA-256 of each of the N files' bytes.
    """

    held: NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        assert callable(self.held) or len(self.held) == len(self.digests)

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Uint8 [N, C, S, S], read-only; gray (C = 1) or RGB (C = 3)."""
        return self.held() if callable(self.held) else self.held

    def part(self, start: int, stop: int) -> "Pictures":
        """Pictures `start` up to `stop`, without copying."""
        held = (lambda: self.pixels[start:stop]) if callable(self.held) else self.held[start:stop]
        return Pictures(held, self.digests[start:stop])

    def take(self, rows: NDArray[np.intp]) -> "Pictures":
        """A copy of the pictures in these rows [R], decoded as late as these."""
        digests = tuple(self.digests[row] for row in rows)
        return Pictures(cache(lambda: self.pixels[rows]), digests)

    @property
    def digest(self) -> str:
        """SHA-256 over all files in order: the same only for the same pictures."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()
