"""Which pictures are for training and which for testing: drawn by hash, kept as a CSV.

The CSV has the columns `path,label,split`; paths are relative to its own folder or absolute.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.assemble import Entry, SplitName, assemble
from cvgssl.images.dataset import Dataset
from cvgssl.images.names import FilesBelow, comparable, name_bytes, text_form
from cvgssl.runtime.csv_files import CsvRow, read_rows
from cvgssl.runtime.csv_writing import write_rows
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, problem_lines

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
            problem_lines(
                [
                    f"class {one_line(label)!r} has one picture; a split needs two"
                    for label in single
                ]
            )
        )
    test = np.zeros(len(labels), np.bool_)
    for rows in members.values():
        count = min(max(math.floor(len(rows) * test_fraction + 0.5), 1), len(rows) - 1)
        drawn = sorted(rows, key=lambda row: _place(seed, names[row]))
        test[drawn[:count]] = True
    return test


def write_split(dataset: Dataset, path: Path) -> None:
    r"""Write the data set's split as a CSV that `read_split` gives back row for row.

    Paths below the CSV's folder are written relative to it, others absolute.
    Bytes of names that are no UTF-8 are written as \xNN.
    """
    folder = path.parent.absolute()
    rows = []
    splits: tuple[SplitName, SplitName] = ("train", "test")
    for split in splits:
        table = dataset.train if split == "train" else dataset.test
        for picture, label in zip(table.paths, table.labels, strict=True):
            rows.append((text_form(_written(picture, folder)), table.classes[label], split))
    write_rows(path, COLUMNS, rows)


def read_split(path: Path) -> Dataset:
    """The data set that a CSV of `path,label,split` lists; see `runtime.csv_files`.

    Raises UserError with one line per bad row, naming its line.
    """
    entries: list[Entry] = []
    problems = []
    files = FilesBelow(path.parent)
    for row in read_rows(path, COLUMNS):
        entry = _entry(files, row)
        if isinstance(entry, str):
            problems.append(f"{path} line {row.line}: {entry}")
        else:
            entries.append(entry)
    if problems:
        raise UserError(problem_lines(problems))
    return assemble(path, entries)


def _place(seed: int, name: str) -> bytes:
    return hashlib.sha256(name_bytes(f"{seed}\n{comparable(name)}")).digest()


def _written(picture: Path, folder: Path) -> str:
    # normpath only drops "." and "..": links stay as the user laid them
    whole = Path(os.path.normpath(picture.absolute()))
    base = Path(os.path.normpath(folder))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else whole.as_posix()


def _entry(files: FilesBelow, row: CsvRow) -> Entry | str:
    """The row's entry, or what is wrong with it."""
    empty = [name for name in COLUMNS if not row[name]]
    if empty:
        return f"no {' and no '.join(empty)}"
    split = row["split"].lower()
    if split not in ("train", "test"):
        return f"split {one_line(row['split'])!r} is neither train nor test"
    picture = files.find(row.written["path"])
    if picture is None:
        return f"no such file: {one_line(row['path'])}"
    return Entry(picture, row["label"], "train" if split == "train" else "test")
