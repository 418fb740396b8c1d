"""A features file as columns that have been checked, whoever made it.

N pictures, D numbers for each.
"""

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.table_files import TEXTS, read_npz, read_parquet
from cvgssl.images.assemble import normal
from cvgssl.images.names import comparable, name_bytes
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file, one_line, parsing
from cvgssl.runtime.yaml_files import is_text

_LONGEST_PATH = 4096  # bytes
_LARGEST = 1e15  # of features; sums of squares of larger ones leave float32
_AT_A_TIME = 2**22  # numbers that are looked at together
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Columns:
    """What a features file holds of N pictures.

    values: float32 [N, D], memory-mapped where they are many. labels: class names, "" where the
    class is not known. places: int64 [N], of a part of a table: where its rows belong. The others
    are those of `FeatureTable`.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    about: dict[str, Any]
    places: NDArray[np.int64] | None = None


def read_columns(path: Path) -> Columns:
    """Read a single .npz or .parquet; see `table.load_features`, errors too."""
    readers = {".npz": read_npz, ".parquet": read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path}: features are read from .npz or .parquet")
    check_file(path)
    with parsing(path, "a features file"):
        columns = readers[path.suffix](path)
        for name in TEXTS:
            if name in columns:
                columns[name] = _texts(path, name, columns[name])
    return _assemble(path, columns)


def _texts(path: Path, name: str, column: Any) -> list[str]:
    """A column of N texts; bytes are UTF-8, whole numbers are written out, no label is ""."""
    if isinstance(column, np.ndarray):  # else a list, where one long text costs no more than it is
        if column.ndim != 1:
            raise UserError(f"{path}: {name} must be one text for each picture")
        column = column.tolist()
    return [_text(path, name, value) for value in column]


def _text(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if name == "labels" and (value is None or value != value):  # NaN, as tables mark a gap
        return ""
    raise UserError(f"{path}: {name} must be texts, not {one_line(repr(value), 40)}")


def _assemble(path: Path, columns: dict[str, Any]) -> Columns:
    missing = [name for name in ("values", "names") if name not in columns]
    if missing:
        raise UserError(f"{path}: has no {' and no '.join(missing)}; see docs/features.md")
    longest = max(map(len, columns["names"]), default=0)
    if longest > _LONGEST_PATH:
        raise UserError(f"{path}: a name of {longest:,} characters is no path of a picture")
    names = _plain_names(columns["names"], "splits" not in columns)
    if not all(map(_is_encodable, (*names, *columns.get("labels", ())))):
        raise UserError(
            f"{path}: a name or label is no text (it has a NUL character or half of a surrogate "
            "pair)"
        )
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a name occurs more than once")
    splits = tuple(columns.get("splits") or map(_split_of, names))
    words = columns.get("labels") or map(_class_of, names)
    labels = tuple(normal(label) for label in words)
    strange = sorted(set(splits) - set(SPLITS))
    if strange or len(splits) != len(names) or len(labels) != len(names):
        known = one_line(", ".join(strange[:5]), 60) if strange else "all known"
        raise UserError(
            f"{path}: needs a split (train or test) and a label for every name; there are "
            f"{len(splits)} splits ({known}) and {len(labels)} labels for {len(names)} names"
        )
    values = _values(path, columns["values"], len(names))
    about = _about(path, columns.get("about"), values.shape[1])
    places = _places(path, columns["places"], len(names)) if "places" in columns else None
    return Columns(values, names, labels, splits, about, places)


def _values(path: Path, column: Any, count: int) -> NDArray[np.float32]:
    values = np.asarray(column)
    sized = values.ndim == 2 and len(values) == count and values.shape[1] > 0
    if not sized or values.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: values are {one_line(f'{values.dtype} {values.shape}', 100)} for {count} "
            "names; float [pictures, numbers] is needed"
        )
    with np.errstate(over="ignore"):  # a float64 can be too large, which is seen below
        single = np.ascontiguousarray(values, dtype=np.float32)
    rows = max(1, _AT_A_TIME // single.shape[1])
    for start in range(0, count, rows):
        if not (np.abs(single[start : start + rows]) <= _LARGEST).all():  # nor NaN
            raise UserError(
                f"{path}: values hold NaN, infinite numbers or numbers above {_LARGEST:g}; scale "
                "them"
            )
    return single


def _places(path: Path, column: Any, count: int) -> NDArray[np.int64]:
    places = np.asarray(column)
    if places.dtype != np.int64 or places.shape != (count,) or (places < 0).any():
        raise UserError(f"{path}: places must be a whole number from 0 for every name")
    return places


def _about(path: Path, text: Any, width: int) -> dict[str, Any]:
    try:
        about = {} if text is None else json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: about is not JSON: {one_line(error)}") from error
    if not isinstance(about, dict):
        raise UserError(f"{path}: about must be a JSON object")
    data = str(about.get("data", ""))
    if not is_text(data) or len(name_bytes(data)) > _LONGEST_PATH:
        raise UserError(f"{path}: about.data is no path: {one_line(data, 60)}")
    if "parts" in about and not _are_parts(about["parts"], width):
        parts = one_line(repr(about["parts"]), 60)
        raise UserError(
            f"{path}: about.parts are no widths and weights of {width} numbers: {parts}"
        )
    return about


def _are_parts(value: Any, width: int) -> bool:
    """Whether `value` is a list of pairs: whole widths that add up to `width`, weights above 0."""
    try:
        return (
            all(type(numbers) is int and numbers > 0 for numbers, _ in value)
            and all(type(weight) in (int, float) and 0 < weight < _LARGEST for _, weight in value)
            and sum(numbers for numbers, _ in value) == width
        )
    except (TypeError, ValueError):
        return False


def _plain_names(names: Sequence[str], from_names: bool) -> tuple[str, ...]:
    """Names as this project writes them: slashes, nothing doubled, composed letters.

    from_names: whether the names say the split. Then the folders that all have in common before
    train/ or test/, such as those of an absolute path, are left out, so that they can.
    """
    if not any("/" in name for name in names):
        names = [name.replace("\\", "/") for name in names]
    plain = [posixpath.normpath(comparable(name)) if name else "" for name in names]
    if from_names:
        common = {_before_split(name) for name in plain}
        if len(common) == 1 and (start := common.pop()):
            plain = [name.removeprefix(start) for name in plain]
    return tuple(plain)


def _is_encodable(text: str) -> bool:
    try:
        name_bytes(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _before_split(name: str) -> str | None:
    """What is before the first folder train or test; None where there is no such folder."""
    folders = name.split("/")[:-1]
    place = next((i for i, part in enumerate(folders) if part.lower() in SPLITS), None)
    return None if place is None else "".join(f"{part}/" for part in folders[:place])


def _split_of(name: str) -> str:
    first = name.split("/", 1)[0].lower()
    return first if first in SPLITS else "train"


def _class_of(name: str) -> str:
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 and parts[-2].lower() not in SPLITS else ""
