"""From (picture, class, split) entries to a checked Dataset, whatever they were read from."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from cvgssl.images.dataset import Dataset, ImageTable
from cvgssl.images.listing import natural_path
from cvgssl.images.names import comparable, is_utf8
from cvgssl.runtime.csv_files import bare
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import name_remedy, one_line, printable, problem_lines

SplitName = Literal["train", "test"]


class Entry(NamedTuple):
    """One labelled picture of a data set."""

    path: Path
    label: str
    split: SplitName


def assemble(root: Path, entries: Sequence[Entry]) -> Dataset:
    """The data set of these entries; within a split by class, then by path in natural order.

    Raises UserError, with one line per problem, when a split is empty, there is only one class, a
    class has test pictures but none in train, a class name's bytes are no UTF-8 or show nothing,
    or one real file is listed more than once.
    """
    listed = [entry._replace(label=normal(entry.label)) for entry in entries]
    classes = tuple(sorted({entry.label for entry in listed if entry.split == "train"}))
    missing = {entry.label for entry in listed if entry.split == "test"} - set(classes)
    problems = [
        f"{root}: class {one_line(label)!r} has test pictures but none in train"
        for label in sorted(missing)
    ]
    if not classes:
        problems = [f"{root}: no train pictures"]
    elif len(classes) == 1 and not missing:
        problems.append(
            f"{root}: only one class, {one_line(classes[0])!r}; at least two are needed"
        )
    if not any(entry.split == "test" for entry in listed):
        problems.append(f"{root}: no test pictures")
    problems += [
        f"{root}: the class name {printable(label)} has bytes that are no UTF-8, and files of "
        f"results could not hold it; {name_remedy('its folder')}"
        for label in sorted({entry.label for entry in listed})
        if not is_utf8(label)
    ]
    problems += [
        f"{entry.path}: the name of its class, {entry.label!a}, has no visible character; rename it"
        for entry in entries
        if not normal(entry.label)
    ]
    problems += [
        f"{second.path}: {second.split} picture of class {second.label!r} is the same file as "
        f"{first.path}, {first.split} picture of class {first.label!r}; keep one"
        for first, second in _repeated(listed)
    ]
    if problems:
        raise UserError(problem_lines(problems))
    return Dataset(root, _table(listed, "train", classes), _table(listed, "test", classes))


def normal(label: str) -> str:
    """A class name as it is compared: composed letters, nothing blank or invisible around it."""
    return bare(comparable(label))


def _table(entries: Sequence[Entry], split: SplitName, classes: tuple[str, ...]) -> ImageTable:
    rows = [entry for entry in entries if entry.split == split]
    rows.sort(key=lambda entry: (entry.label, natural_path(entry.path)))
    index = {label: i for i, label in enumerate(classes)}
    labels = np.array([index[entry.label] for entry in rows], np.int64)
    return ImageTable(tuple(entry.path for entry in rows), labels, classes)


def _repeated(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    """Pairs of entries whose paths lead to one real file: the first mention and a later one."""
    folders: dict[Path, Path] = {}
    first: dict[Path, Entry] = {}
    pairs = []
    for entry in entries:
        parent = entry.path.parent
        if parent not in folders:
            folders[parent] = _real(parent)
        linked = entry.path.is_symlink()
        real = _real(entry.path) if linked else folders[parent] / entry.path.name
        if real in first:
            pairs.append((first[real], entry))
        else:
            first[real] = entry
    return pairs


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails on a circle of links
