"""Embeddings of a data set's pictures with what is known about them, and their files.

N pictures, D numbers for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.columns import SPLITS as SPLITS
from cvgssl.features.columns import read_columns
from cvgssl.features.config import ENDINGS
from cvgssl.features.part_files import part_file, read_parts, remove_other_parts
from cvgssl.features.shares import Share
from cvgssl.features.table_files import import_parquet, write_npz, write_parquet
from cvgssl.images.dataset import Dataset, ImageTable
from cvgssl.images.names import text_form
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

UNLABELLED = -1


@dataclass(frozen=True)
class FeatureTable:
    """Embeddings of N pictures.

    values: float32 [N, D].
    names: N paths relative to the data folder (posix), as draws call pictures.
    labels: int64 [N], indices into `classes`; -1 where the class is not known.
    splits: N words, "train" or "test".
    classes: class names, sorted.
    about: what made them: encoder, weights hash, pooling, picture size (JSON values).
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert len(self.values) == len(self.names) == len(self.labels) == len(self.splits)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def root(self) -> Path:
        """The data folder or CSV that names are relative to, as far as `about` says it."""
        return Path(str(self.about.get("data", "")))

    @property
    def blocks(self) -> list[tuple[int, float]]:
        """Width and weight of each block of columns: an encoder's, a layer's, a way of pooling's.

        Empty where `about`, which calls them parts, does not say it: then all are one block.
        """
        return [(int(width), float(weight)) for width, weight in self.about.get("parts", ())]

    def split(self, name: str) -> "FeatureTable":
        """The pictures of one split, in order."""
        return self.take(np.flatnonzero(np.array(self.splits) == name))

    def take(self, rows: NDArray[np.intp]) -> "FeatureTable":
        """The pictures in these rows, int [R]."""
        return FeatureTable(
            self.values[rows],
            tuple(self.names[row] for row in rows),
            self.labels[rows],
            tuple(self.splits[row] for row in rows),
            self.classes,
            self.about,
        )

    def dataset(self) -> Dataset:
        """The labelled pictures as a data set, for `adapt.draws.draw`: the same draws as theirs.

        Paths are relative, so the files themselves are not found by it.
        """
        train, test = (_images(self.split(name)) for name in SPLITS)
        return Dataset(Path(), train, test)


def _images(table: FeatureTable) -> ImageTable:
    labelled = table.take(np.flatnonzero(table.labels != UNLABELLED))
    return ImageTable(tuple(map(Path, labelled.names)), labelled.labels, labelled.classes)


def check_target(path: Path, share: Share | None = None) -> None:
    """Raise UserError if a table, or a share of one, could not be written: before any work."""
    if path.suffix not in ENDINGS:
        raise UserError(f"{path}: features are written as .npz or .parquet")
    if share is None and path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if share is not None and path.exists() and not path.is_dir():
        raise UserError(
            f"{path}: is a file; several processes write a folder of parts: name another, or "
            "remove it"
        )
    if path.suffix == ".parquet":
        import_parquet()


def save_features(table: FeatureTable, path: Path) -> None:
    r"""Write `table` as .npz or .parquet, by the ending, whole or not at all.

    Bytes of names that are no UTF-8 are written as \xNN into .parquet.
    Raises UserError for another ending and a missing package.
    """
    check_target(path)
    _save(table, path, {})


def save_part(table: FeatureTable, places: NDArray[np.intp], share: Share, out: Path) -> Path:
    """Write a share of a table into the folder `out`; gives the file.

    places: where its rows belong in the whole table. `about` has `share`, as `embed_all` gives it.
    """
    check_target(out, share)
    path = part_file(out, share)
    _save(table, path, {"places": places.astype(np.int64)})
    remove_other_parts(out, share)
    return path


def _save(table: FeatureTable, path: Path, more: Mapping[str, Any]) -> None:
    label = [*table.classes, ""]  # -1 is the last
    columns: dict[str, Any] = {
        "values": table.values,
        "names": [text_form(name) if path.suffix == ".parquet" else name for name in table.names],
        "labels": [label[row] for row in table.labels],
        "splits": list(table.splits),
        "about": table.about,
    }
    with writing(path) as aside:
        (write_npz if path.suffix == ".npz" else write_parquet)(aside, columns | dict(more))


def load_features(path: Path) -> FeatureTable:
    """Read what `save_features` wrote, or an .npz or .parquet that somebody else made.

    Needed: `values` (float [N, D]; in parquet a list column) and `names`. May be left out:
    `splits` (then the folder train or test in the names says it, else all is train), `labels`
    (class names, "" for unknown; then the folder above the picture, where there is one) and
    `about` (JSON text). Nothing in the file is executed. Many values are not read into memory
    but mapped, read-only.

    A folder is the parts of one table that several processes wrote (see `part_files.py`).
    Raises UserError that names the file and what is wrong with it.
    """
    columns = read_parts(path) if path.is_dir() else read_columns(path)
    classes = tuple(sorted(set(columns.labels) - {""}))
    numbers = {name: number for number, name in enumerate(classes)} | {"": UNLABELLED}
    labels = np.array([numbers[label] for label in columns.labels], dtype=np.int64)
    return FeatureTable(
        columns.values, columns.names, labels, columns.splits, classes, columns.about
    )
