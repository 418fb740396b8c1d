"""From what the user names as DATA to a train and a test split."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from cvgssl.images.assemble import Entry, SplitName, assemble, normal
from cvgssl.images.dataset import Dataset, names_below
from cvgssl.images.layout import HALVES, FolderLayout, layout_of
from cvgssl.images.listing import Inventory, list_pictures, natural_path, subfolders
from cvgssl.images.splits import grouped_split, is_split, read_split, stratified_split
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import printable, problem_lines

__all__ = ["has_own_split", "list_pictures", "load_dataset"]

log = logging.getLogger(__name__)

Parts = Callable[[Sequence[Path], Sequence[str]], Sequence[str]]


def load_dataset(
    data: Path, *, test_fraction: float = 0.3, seed: int = 0, parts_of: Parts | None = None
) -> Dataset:
    """The labelled pictures of `data`, which is one of three things.

    - A folder with train/CLASS/** and test/CLASS/**.
    - One folder of classes CLASS/**: split by `test_fraction` and `seed` within each class.
    - A CSV file with the columns path,label,split.

    parts_of: from paths and names of all pictures of a folder to the part that each shows; a
    part's pictures stay on one side of the split. With it train/ and test/ are split again.

    Order, split and classes depend on names only, not on the file system. Every real file counts
    once per class; what is left out is counted in a warning.
    Raises UserError, one line per problem, for what is missing, empty or listed twice, and for
    folders that are splits under other names.
    """
    if is_split(data):
        return read_split(data)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder or CSV file")
    layout = layout_of(data)
    inventory = Inventory()
    if layout.halves:
        entries = _of_halves(data, layout, inventory)
    else:
        entries = _entries(data, "train", inventory)
    if parts_of or not layout.halves:
        entries = _split_anew(data, entries, test_fraction, seed, parts_of)
    inventory.log(data)
    return assemble(data, entries)


def has_own_split(data: Path) -> bool:
    """Whether `data` says itself which pictures are for testing."""
    return data.is_file() or (data.is_dir() and bool(layout_of(data).halves))


def _of_halves(data: Path, layout: FolderLayout, inventory: Inventory) -> list[Entry]:
    beside = ", ".join(f"{printable(path.name)}/" for path in layout.beside)
    absent = [name for name in HALVES if name not in layout.halves]
    if absent:
        (present,) = (path.name for path in layout.halves.values())
        remedy = (
            f"rename {beside} to {absent[0]}"
            if beside
            else f"make both, or name {data / present} itself to have it split"
        )
        raise UserError(f"{data}: has {present}/ but no {absent[0]}/; {remedy}")
    if beside:
        log.warning("%s: %s left out; only train/ and test/ are used", data, beside)
    train, test = (layout.halves[name] for name in HALVES)
    return _entries(train, "train", inventory) + _entries(test, "test", inventory)


def _split_anew(
    data: Path,
    entries: list[Entry],
    test_fraction: float,
    seed: int,
    parts_of: Parts | None,
) -> list[Entry]:
    listed = sorted(entries, key=lambda entry: natural_path(entry.path))
    labels = [entry.label for entry in listed]
    names = names_below([entry.path for entry in listed], data)
    parts = parts_of([entry.path for entry in listed], names) if parts_of else None
    try:
        if parts is None:
            test = stratified_split(labels, names, test_fraction, seed)
        else:
            test = grouped_split(labels, parts, test_fraction, seed)
    except UserError as error:
        raise UserError("\n".join(f"{data}: {line}" for line in str(error).splitlines())) from error
    return [
        entry._replace(split="test" if drawn else "train")
        for entry, drawn in zip(listed, test, strict=True)
    ]


def _entries(folder: Path, split: SplitName, inventory: Inventory) -> list[Entry]:
    """The pictures of a folder of class folders."""
    loose = inventory.loose(folder)
    listed: list[Entry] = []
    empty = []
    for class_folder in subfolders(folder):
        pictures = inventory.pictures(class_folder)
        listed += [Entry(path, normal(class_folder.name), split) for path in pictures]
        if not pictures:
            empty.append(class_folder)
    if not listed:
        hint = "; put each class's into a folder of its own" if loose else ""
        raise UserError(f"{folder}: {'no class folders' if loose else 'no pictures'}{hint}")
    if empty and split == "train":
        raise UserError(
            problem_lines(
                [f"{path}: a class without pictures; fill or remove it" for path in empty]
            )
        )
    if loose:
        log.warning("%s: %d pictures outside the class folders left out", folder, len(loose))
    return listed
