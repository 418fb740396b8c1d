"""From what the user names as DATA to a train and a test split."""

import logging
from pathlib import Path

from cvgssl.images.assemble import Entry, Split, assemble, normal
from cvgssl.images.listing import entries, is_picture, list_pictures, natural_path, subfolders
from cvgssl.images.splits import read_split, stratified_split
from cvgssl.images.table import Dataset
from cvgssl.runtime.errors import UserError

__all__ = ["has_own_split", "list_pictures", "load_dataset"]

log = logging.getLogger(__name__)


def load_dataset(data: Path, *, test_fraction: float = 0.3, seed: int = 0) -> Dataset:
    """The labelled pictures of `data`, which is one of three things.

    - A folder with train/CLASS/** and test/CLASS/**.
    - One folder of classes CLASS/**: split by `test_fraction` and `seed` within each class.
    - A CSV file with the columns path,label,split.

    Order, split and classes depend on names alone, not on the file system. Every real file counts
    once per class; pictures outside the class folders are left out with a warning.
    Raises UserError, one line per problem, for what is missing, empty or listed twice.
    """
    if data.is_file():
        if data.suffix.lower() != ".csv":
            raise UserError(f"{data}: DATA must be a folder or a .csv file")
        return read_split(data)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder or CSV file")
    splits = _split_folders(data)
    if not splits:
        return _split_classes(data, test_fraction, seed)
    absent = [name for name in ("train", "test") if name not in splits]
    if absent:
        there = splits["train" if absent == ["test"] else "test"].name
        raise UserError(
            f"{data}: has {there}/ but no {absent[0]}/; make both, or name {data / there} itself "
            "to have it split"
        )
    return assemble(data, _entries(splits["train"], "train") + _entries(splits["test"], "test"))


def has_own_split(data: Path) -> bool:
    """Whether `data` says itself which pictures are for testing."""
    return data.is_file() or (data.is_dir() and bool(_split_folders(data)))


def _split_folders(data: Path) -> dict[str, Path]:
    names = ("train", "test")
    return {path.name.lower(): path for path in subfolders(data) if path.name.lower() in names}


def _split_classes(data: Path, test_fraction: float, seed: int) -> Dataset:
    found = sorted(_entries(data, "train"), key=lambda entry: natural_path(entry.path))
    labels = [entry.label for entry in found]
    names = [entry.path.relative_to(data).as_posix() for entry in found]
    try:
        test = stratified_split(labels, names, test_fraction, seed)
    except UserError as error:
        raise UserError("\n".join(f"{data}: {line}" for line in str(error).splitlines())) from error
    return assemble(
        data,
        [
            entry._replace(split="test") if drawn else entry
            for entry, drawn in zip(found, test, strict=True)
        ],
    )


def _entries(folder: Path, split: Split) -> list[Entry]:
    """The pictures of a folder of class folders."""
    loose = [path for path in entries(folder) if is_picture(path)]
    found: list[Entry] = []
    empty = []
    for class_folder in subfolders(folder):
        pictures = list_pictures(class_folder)
        found += [Entry(path, normal(class_folder.name), split) for path in pictures]
        if not pictures:
            empty.append(class_folder)
    if not found:
        hint = "; put each class's into a folder of its own" if loose else ""
        raise UserError(f"{folder}: {'no class folders' if loose else 'no pictures'}{hint}")
    if empty and split == "train":
        raise UserError(
            "\n".join(f"{path}: a class without pictures; fill or remove it" for path in empty)
        )
    if loose:
        log.warning("%s: %d pictures outside the class folders left out", folder, len(loose))
    return found
