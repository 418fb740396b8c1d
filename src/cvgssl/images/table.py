"""Lists of labelled pictures, the currency between data folders and everything else."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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
        """The pictures in these rows, with all class names."""
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
    """How draws and features call pictures: relative to the data folder, else the whole path."""
    base = root if root.is_dir() else root.parent
    return [
        (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
        for path in table.paths
    ]


def rows_without_copies(
    contents: Iterable[Hashable], *known: Iterable[Hashable]
) -> NDArray[np.intp]:
    """Rows of the first of each content that is not among the `known` ones.

    For unlabelled pictures beside a data set: a copy of a test picture must influence nothing.
    """
    seen = set[Hashable]().union(*known)
    rows = []
    for row, content in enumerate(contents):
        if content not in seen:
            seen.add(content)
            rows.append(row)
    return np.array(rows, dtype=np.intp)
