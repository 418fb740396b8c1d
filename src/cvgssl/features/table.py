"""Embeddings of a data set's pictures with what is known about them, and their files.

N pictures, D numbers for each.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.table import Dataset, ImageTable
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

UNLABELLED = -1
SPLITS = ("train", "test")


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

    def part(self, split: str) -> "FeatureTable":
        """The pictures of one split, in order."""
        return self.take(np.flatnonzero(np.array(self.splits) == split))

    def take(self, rows: NDArray[np.intp]) -> "FeatureTable":
        """The pictures in these rows."""
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
        train, test = (_images(self.part(split)) for split in SPLITS)
        return Dataset(Path(), train, test)


def _images(table: FeatureTable) -> ImageTable:
    known = table.take(np.flatnonzero(table.labels != UNLABELLED))
    return ImageTable(tuple(map(Path, known.names)), known.labels, known.classes)


def check_target(path: Path) -> None:
    """Raise UserError if `save_features` could not write such a file: before any work is done."""
    if path.suffix not in (".npz", ".parquet"):
        raise UserError(f"{path}: features are written as .npz or .parquet")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if path.suffix == ".parquet":
        _parquet()


def save_features(table: FeatureTable, path: Path) -> None:
    """Write `table` as .npz or .parquet, by the ending, whole or not at all.

    Raises UserError for another ending, a missing package, and names that are no Unicode text.
    """
    check_target(path)
    with writing(path) as aside:
        try:
            (_save_npz if path.suffix == ".npz" else _save_parquet)(table, aside)
        except UnicodeEncodeError as error:
            raise UserError(
                f"{path}: a file name is not valid Unicode: {error.object!r}; rename it, or use "
                ".npz"
            ) from error


def load_features(path: Path) -> FeatureTable:
    """Read what `save_features` wrote, or an .npz or .parquet that somebody else made.

    Needed: `values` (float [N, D]; in parquet a list column) and `names`. May be left out:
    `splits` (then names that begin with train/ or test/ say it, else all is train), `labels`
    (class names, "" for unknown; then the folder above the picture, where there is one) and
    `about` (JSON text). Nothing in the file is executed.
    Raises UserError that names the file and what is wrong with it.
    """
    readers = {".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path}: features are read from .npz or .parquet")
    try:
        columns = readers[path.suffix](path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a features file: {error}") from error
    return _assemble(path, columns)


def _assemble(path: Path, columns: dict[str, Any]) -> FeatureTable:
    missing = [name for name in ("values", "names") if name not in columns]
    if missing:
        raise UserError(f"{path}: has no {' and no '.join(missing)}; see docs/features.md")
    for name in ("names", "splits", "labels"):
        if np.ndim(columns.get(name, ())) != 1:
            raise UserError(f"{path}: {name} must be one text for each picture")
    names = tuple(str(name) for name in columns["names"])
    values = np.asarray(columns["values"])
    if values.ndim != 2 or len(values) != len(names) or values.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: values are {values.dtype} {values.shape} for {len(names)} names; "
            "float [pictures, numbers] is needed"
        )
    if not np.isfinite(values).all():
        raise UserError(f"{path}: values hold NaN or infinite numbers")
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a name occurs more than once")
    splits = tuple(map(str, columns.get("splits", [_split_of(name) for name in names])))
    labels = [str(label) for label in columns.get("labels", [_class_of(name) for name in names])]
    strange = sorted(set(splits) - set(SPLITS))
    if strange or len(splits) != len(names) or len(labels) != len(names):
        raise UserError(
            f"{path}: needs a split (train or test) and a label for every name; found "
            f"{len(splits)} splits ({', '.join(strange) or 'all known'}) and {len(labels)} labels "
            f"for {len(names)} names"
        )
    classes = tuple(sorted(set(labels) - {""}))
    places = {name: place for place, name in enumerate(classes)} | {"": UNLABELLED}
    return FeatureTable(
        np.ascontiguousarray(values, dtype=np.float32),
        names,
        np.array([places[label] for label in labels], dtype=np.int64),
        splits,
        classes,
        _about(path, columns.get("about")),
    )


def _about(path: Path, text: Any) -> dict[str, Any]:
    try:
        about = {} if text is None else json.loads(str(text))
    except ValueError as error:
        raise UserError(f"{path}: about is not JSON: {error}") from error
    if not isinstance(about, dict):
        raise UserError(f"{path}: about must be a JSON object")
    return about


def _split_of(name: str) -> str:
    first = name.split("/", 1)[0].lower()
    return first if first in SPLITS else "train"


def _class_of(name: str) -> str:
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 and parts[-2].lower() not in SPLITS else ""


def _columns(table: FeatureTable) -> dict[str, list[str]]:
    label = [*table.classes, ""]  # -1 is the last
    return {
        "names": list(table.names),
        "labels": [label[row] for row in table.labels],
        "splits": list(table.splits),
    }


def _save_npz(table: FeatureTable, path: Path) -> None:
    texts: dict[str, Any] = {
        name: np.array(column, dtype=np.str_) for name, column in _columns(table).items()
    }
    with path.open("wb") as file:
        np.savez(file, values=table.values, about=np.str_(json.dumps(table.about)), **texts)


def _read_npz(path: Path) -> dict[str, Any]:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("a single array, not .npz")
    with loaded as file:
        return {name: file[name] for name in file.files}


def _save_parquet(table: FeatureTable, path: Path) -> None:
    pyarrow, parquet = _parquet()
    flat = pyarrow.array(np.ascontiguousarray(table.values).ravel())
    values = pyarrow.FixedSizeListArray.from_arrays(flat, table.values.shape[1])
    made = pyarrow.table({"values": values} | _columns(table))
    parquet.write_table(made.replace_schema_metadata({"about": json.dumps(table.about)}), path)


def _read_parquet(path: Path) -> dict[str, Any]:
    pyarrow, parquet = _parquet()
    made = parquet.read_table(path)
    columns: dict[str, Any] = {
        name: made[name].to_pylist() for name in made.column_names if name != "values"
    }
    if "values" in made.column_names:
        columns["values"] = _matrix(pyarrow, made["values"].combine_chunks())
    about = (made.schema.metadata or {}).get(b"about")
    return columns | ({"about": about.decode()} if about else {})


def _matrix(pyarrow: Any, lists: Any) -> NDArray[Any]:
    """A column of lists of one length, [N, D]; raises ValueError."""
    if pyarrow.types.is_fixed_size_list(lists.type):
        width = lists.type.list_size
    else:
        lengths = set(lists.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise ValueError("the lists in values are not of one length")
        width = lengths.pop() if lengths else 0
    flat: NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(lists), width or 0)


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "parquet files need pyarrow: pip install 'cvgssl[parquet]'; or use .npz"
        ) from error
    return pyarrow, parquet
