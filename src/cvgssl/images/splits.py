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

_MOST_ROUNDS = 20  # over all parts; two or three are usual


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
    _check_fraction(test_fraction)
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
        count = _test_count(len(rows), test_fraction)
        drawn = sorted(rows, key=lambda row: _place(seed, names[row]))
        test[drawn[:count]] = True
    return test


def grouped_split(
    labels: Sequence[str],
    parts: Sequence[str],
    test_fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Which of N pictures are for testing, bool [N], when those of a part stay on one side.

    parts: of each picture the part that it shows. Parts are drawn by hash, as pictures are by
    `stratified_split`, and change sides while that brings the classes nearer to their share;
    where every picture is a part of its own, each class gets the same number as there. A class
    that shows one part is in train.
    Raises UserError for a share outside 0..1 (exclusive) and where nothing is left for testing.
    """
    _check_fraction(test_fraction)
    names = list(dict.fromkeys(parts))
    rows = {name: row for row, name in enumerate(names)}
    columns = {label: column for column, label in enumerate(dict.fromkeys(labels))}
    held = np.zeros((len(names), len(columns)), np.int64)
    for label, part in zip(labels, parts, strict=True):
        held[rows[part], columns[label]] += 1
    sizes = held.sum(axis=0)
    wanted = np.array([_test_count(int(size), test_fraction) for size in sizes])

    def cost(counts: NDArray[np.int64], of: NDArray[np.intp]) -> float:
        """Distance from the wanted shares; a class must be in train and should be in test."""
        far = np.abs(counts - wanted[of]) / sizes[of]
        return float((far + 1000 * (counts == sizes[of]) + 10 * (counts == 0)).sum())

    order = sorted(range(len(names)), key=lambda row: _place(seed, names[row]))
    touched = [np.flatnonzero(counts) for counts in held]
    test = np.zeros(len(names), np.bool_)
    counts = np.zeros(len(columns), np.int64)
    for _ in range(_MOST_ROUNDS):
        before = test.copy()
        for row in order:
            of = touched[row]
            moved = counts[of] + held[row, of] * (-1 if test[row] else 1)
            if cost(moved, of) < cost(counts[of], of):
                counts[of] = moved
                test[row] = not test[row]
        if np.array_equal(before, test):
            break
    if not test.any():
        raise UserError("every class shows one part only, so that nothing is left for testing")
    drawn: NDArray[np.bool_] = test[[rows[part] for part in parts]]
    return drawn


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


def is_split(data: Path) -> bool:
    """Whether DATA is a split CSV, not a folder; raises UserError for any other file."""
    if data.is_file() and data.suffix.lower() != ".csv":
        raise UserError(f"{data}: DATA must be a folder or a .csv file")
    return data.is_file()


def read_split(path: Path) -> Dataset:
    """The data set that a CSV of `path,label,split` lists; see `runtime.csv_files`.

    Raises UserError with one line per bad row, naming its line.
    """
    entries: list[Entry] = []
    problems = []
    files = FilesBelow(path.parent, path)
    for row in read_rows(path, COLUMNS):
        entry = _entry(files, row)
        if isinstance(entry, str):
            problems.append(f"{path} line {row.line}: {entry}")
        else:
            entries.append(entry)
    if problems:
        raise UserError(problem_lines(problems))
    return assemble(path, entries)


def _check_fraction(test_fraction: float) -> None:
    if not 0 < test_fraction < 1:
        raise UserError(f"--test-fraction {test_fraction}: must be between 0 and 1, exclusive")


def _test_count(pictures: int, test_fraction: float) -> int:
    """Test pictures of a class: the nearest share, with at least one on each side."""
    return min(max(math.floor(pictures * test_fraction + 0.5), 1), pictures - 1)


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
    picture = files.find(row.written("path"))
    if picture is None:
        return f"no such file: {one_line(row['path'])}"
    return Entry(picture, row["label"], "train" if split == "train" else "test")
