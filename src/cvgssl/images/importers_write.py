"""Public data sets rewritten as train/CLASS and test/CLASS, with their splits.

NEU-CLS, NEU-DET and X-SDD have a list that ships with the package, so that two people get the
same split. NEU: numbers 1..240 of each class train, 241..300 test. X-SDD: 70/30 within each
class, drawn once. `dropped` marks pictures equal to another one of the set. GC10-DET has no
customary split: whole series, pictures with one serial number in their names, are drawn by hash,
which depends on names and seed only.
"""

import csv
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from PIL import Image

from cvgssl.images.import_options import DatasetName, ImportConfig
from cvgssl.images.importers import NEU, Item, Oddities, find_items
from cvgssl.images.names import name_bytes
from cvgssl.images.reader import read_picture
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, sha256_file, write_json
from cvgssl.runtime.progress import progress

Splits = dict[str, str]  # item name -> "train" or "test"

LISTS: dict[DatasetName, str] = {
    "neu-cls": "neu-cls.csv",
    "neu-det": "neu-cls.csv",
    "x-sdd": "x-sdd.csv",
}


def split_by_list(dataset: DatasetName, items: Sequence[Item], notes: Oddities) -> Splits:
    """Splits after the shipped list; items that it drops or does not know get none."""
    listed = read_list(LISTS[dataset])
    splits = {}
    for item in items:
        split = listed.get(item.name)
        if split is None:
            notes["not in the split list, left out"].append(str(item.path))
        elif split == "dropped":
            notes["equal to another picture of the set, left out"].append(str(item.path))
        else:
            splits[item.name] = split
    wanted = [name for name, split in listed.items() if split != "dropped"]
    absent = sorted(set(wanted) - splits.keys())
    notes["in the split list but not found"].extend(_own_name(dataset, name) for name in absent)
    return splits


def _own_name(dataset: DatasetName, name: str) -> str:
    """The list's `Cr_1` is `crazing_1` to users of NEU-DET."""
    code, _, number = name.partition("_")
    return f"{NEU[code]}_{number}" if dataset == "neu-det" else name


def read_list(file: str) -> Splits:
    """Picture name without extension -> train, test or dropped."""
    text = files("cvgssl.images").joinpath("data", file).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["file"].rpartition(".")[0]: row["split"] for row in rows}


def split_by_hash(items: Sequence[Item], test_fraction: float, seed: int) -> Splits:
    """Whole groups to test until each class has nearly `test_fraction` of its pictures there.

    Groups come in the order of SHA-256 of "seed:group". Classes with few pictures are served
    first, since groups can hold several classes. Deterministic for the same names and seed.
    """

    def order(group: str) -> bytes:
        return hashlib.sha256(name_bytes(f"{seed}:{group}")).digest()

    side: dict[str, str] = {}
    sizes = Counter(item.label for item in items)
    for label in sorted(sizes, key=lambda label: (sizes[label], label)):
        members = Counter(item.group for item in items if item.label == label)
        wanted = test_fraction * sizes[label]
        have = sum(count for group, count in members.items() if side.get(group) == "test")
        for group in sorted(members.keys() - side.keys(), key=order):
            fits = have + members[group] / 2 <= wanted
            side[group] = "test" if fits else "train"
            have += members[group] if fits else 0
    return {item.name: side[item.group] for item in items}


@dataclass(frozen=True)
class ImportReport:
    """What was written: `counts[class]` = (train, test) pictures, and what was odd.

    notes: kind of oddity -> file names. missing: pictures of the split list that were not found.
    """

    split: str
    counts: dict[str, tuple[int, int]]
    notes: dict[str, list[str]]
    missing: int


def import_dataset(config: ImportConfig) -> ImportReport:
    """Write OUT/train/CLASS and OUT/test/CLASS, whole or not at all.

    Crops, each widened on each side by its margin times its width or height, stay in one split
    where they are of one picture. Beside the folders is import.json, which says where the pictures
    come from. Raises UserError for a target that holds something and for a source that does not
    fit.
    """
    dataset, boxes = config.dataset, config.boxes
    _refuse_target(config.out)
    if boxes == "crop" and dataset not in ("neu-det", "gc10-det"):
        raise UserError(f"--boxes crop: {dataset} has no boxes; leave it out")
    held = find_items(dataset, config.src)
    notes = held.notes
    if dataset in LISTS:
        rule = f"the list {LISTS[dataset]} that comes with cvgssl"
        splits = split_by_list(dataset, held.items, notes)
        items = _without_copies([item for item in held.items if item.name in splits], notes)
    else:
        rule = f"whole series by hash, seed {config.seed}, {config.test_fraction:.0%} test"
        items = _without_copies(held.items, notes)
        splits = split_by_hash(items, config.test_fraction, config.seed)
    if not items:
        raise UserError(f"SRC {config.src}: none of its pictures is in the split list of {dataset}")
    missing = len(notes["in the split list but not found"])
    with new_folder(config.out, "OUT") as aside:
        crop = partial(
            _write_crops,
            margin=config.crop_margin,
            max_megapixels=config.max_megapixels,
            notes=notes,
        )
        counts = _write(items, splits, aside, crop if boxes == "crop" else _copy)
        report = ImportReport(rule, counts, _by_note(notes), missing)
        options = {"dataset": dataset, "source": str(config.src), "boxes": boxes, "split": rule}
        if boxes == "crop":
            options["margin"] = str(config.crop_margin)
        write_json(
            aside / "import.json", options | {"counts": report.counts, "notes": report.notes}
        )
    return report


def _by_note(notes: Oddities) -> dict[str, list[str]]:
    """Notes without empty kinds; bytes in file names that are no UTF-8 become escapes."""
    return {
        kind: [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
        for kind, names in notes.items()
        if names
    }


def _refuse_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"OUT {target}: not a folder; name a new one")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"OUT {target}: not empty; name a new folder or empty it")


def _without_copies(items: Sequence[Item], notes: Oddities) -> list[Item]:
    """Items whose bytes no earlier item has: a copy on the other side would spoil the test."""
    first: dict[str, Item] = {}
    with progress("comparing", len(items)) as advance:
        for item in items:
            known = first.setdefault(sha256_file(item.path), item)
            if known is not item:
                notes["same bytes as another picture, left out"].append(
                    f"{item.path} ({known.path})"
                )
            advance(1)
    return list(first.values())


def _write(
    items: Sequence[Item], splits: Splits, root: Path, write: Callable[[Item, Path], list[str]]
) -> dict[str, tuple[int, int]]:
    """Write every item by `write`, which takes it and its split's folder and gives its classes."""
    labels: Counter[tuple[str, str]] = Counter()
    with progress("writing", len(items)) as advance:
        for item in items:
            side = root / splits[item.name]
            labels.update((label, side.name) for label in write(item, side))
            advance(1)
    names = sorted({label for label, _ in labels})
    return {name: (labels[name, "train"], labels[name, "test"]) for name in names}


def _copy(item: Item, side: Path) -> list[str]:
    folder = side / item.label
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(item.path, folder / item.path.name)
    return [item.label]


def _write_crops(
    item: Item, side: Path, margin: float, max_megapixels: int, notes: Oddities
) -> list[str]:
    """Write one PNG per box; returns their classes."""
    if not item.boxes:
        notes["no box to crop, left out"].append(str(item.path))
        return []
    picture = read_picture(item.path, max_megapixels=max_megapixels)
    height, width = picture.shape[:2]
    written = []
    for number, box in enumerate(item.boxes, start=1):
        left, top, right, bottom = box.widened(margin, width, height)
        if right <= left or bottom <= top:
            notes["box outside its picture, ignored"].append(str(item.path))
            continue
        folder = side / box.name
        folder.mkdir(parents=True, exist_ok=True)
        crop = Image.fromarray(picture[top:bottom, left:right])
        crop.save(folder / f"{item.path.stem}_{number}.png")
        written.append(box.name)
    return written
