"""Which pictures are for training and which for testing: drawn by hash, kept as a CSV.

The CSV has the columns `path,label,split`; paths are relative to its own folder or absolute.
"""

import csv
import hashlib
import io
import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.assemble import Entry, Split, assemble
from cvgssl.images.table import Dataset
from cvgssl.runtime.csv_writing import unescape_cell, write_rows
from cvgssl.runtime.errors import UserError

COLUMNS = ("path", "label", "split")


def stratified_split(
    labels: Sequence[str], names: Sequence[str], test_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Which of N pictures are for testing, bool [N]: of each class the nearest share possible.

    names: N distinct names, such as paths relative to the data folder. A picture's place in the
    draw is the SHA-256 of seed and name, so the split is the same on every machine and with every
    library version, does not depend on the order given, and hardly changes when files are added.
    Every class keeps at least one picture on each side.
    Raises UserError for a share outside 0..1 (exclusive) or classes with a single picture.
    """
    if not 0 < test_fraction < 1:
        raise UserError(f"--test-fraction {test_fraction}: must be between 0 and 1, exclusive")
    members: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    single = sorted(label for label, rows in members.items() if len(rows) < 2)
    if single:
        raise UserError(
            "\n".join(f"class {label!r} has one picture; a split needs two" for label in single)
        )
    test = np.zeros(len(labels), np.bool_)
    for rows in members.values():
        count = min(max(math.floor(len(rows) * test_fraction + 0.5), 1), len(rows) - 1)
        drawn = sorted(rows, key=lambda row: _place(seed, names[row]))
        test[drawn[:count]] = True
    return test


def write_split(dataset: Dataset, path: Path) -> None:
    """Write the data set's split as a CSV that `read_split` gives back row for row.

    Paths below the CSV's folder are written relative to it, others absolute.
    """
    folder = path.parent.absolute()
    rows = []
    splits: tuple[Split, Split] = ("train", "test")
    for split in splits:
        table = dataset.train if split == "train" else dataset.test
        for picture, label in zip(table.paths, table.labels, strict=True):
            rows.append((_written(picture, folder), table.classes[label], split))
    write_rows(path, COLUMNS, rows)


def read_split(path: Path) -> Dataset:
    """The data set that a CSV of `path,label,split` lists, in UTF-8 with or without BOM.

    Further columns are ignored. Raises UserError with one line per bad row, naming its line.
    """
    entries: list[Entry] = []
    problems = []
    for line, row in _rows(path):
        found = _entry(path.parent, row)
        if isinstance(found, str):
            problems.append(f"{path} line {line}: {found}")
        else:
            entries.append(found)
    if problems:
        raise UserError("\n".join(problems))
    return assemble(path, entries)


def _place(seed: int, name: str) -> bytes:
    text = f"{seed}\n{unicodedata.normalize('NFC', name)}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _written(picture: Path, folder: Path) -> str:
    # normpath only drops "." and "..": links stay as the user laid them
    whole = Path(os.path.normpath(picture.absolute()))
    base = Path(os.path.normpath(folder))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else whole.as_posix()


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and the three named fields of each row; fields left out are empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8; save it as CSV UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; needed: {','.join(COLUMNS)}")
        places = {name: header.index(name) for name in COLUMNS}
        return [
            (reader.line_num, _named(row, places))
            for row in reader
            if any(field.strip() for field in row)
        ]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: {error}") from error


def _named(row: list[str], places: dict[str, int]) -> dict[str, str]:
    return {
        name: unescape_cell(row[place]) if place < len(row) else ""
        for name, place in places.items()
    }


def _entry(folder: Path, row: dict[str, str]) -> Entry | str:
    """The row's entry, or what is wrong with it."""
    empty = [name for name in COLUMNS if not row[name].strip()]
    if empty:
        return f"no {' and no '.join(empty)}"
    split = row["split"].strip().lower()
    if split not in ("train", "test"):
        return f"split {row['split']!r} is neither train nor test"
    picture = folder / row["path"]
    if not picture.is_file() and "\\" in row["path"]:
        picture = folder / PureWindowsPath(row["path"]).as_posix()
    if not picture.is_file():
        return f"no such file: {row['path']}"
    return Entry(picture, row["label"], "train" if split == "train" else "test")
