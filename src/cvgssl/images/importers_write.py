"""Bring a public data set from its distributed form to train/CLASS and test/CLASS."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from cvgssl.images.importers import Item, Name, Notes, find_items
from cvgssl.images.importers_split import LISTS, Splits, split_by_hash, split_by_list
from cvgssl.images.reader import read_picture
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file, write_json
from cvgssl.runtime.progress import progress

Boxes = Literal["whole", "crop"]


@dataclass(frozen=True)
class ImportReport:
    """What was written: `counts[class]` = (train, test) pictures, and what was odd.

    notes: kind of oddity -> file names. missing: pictures of the split list that were not found.
    """

    split: str
    counts: dict[str, tuple[int, int]]
    notes: dict[str, list[str]]
    missing: int


def import_dataset(
    dataset: Name,
    source: Path,
    target: Path,
    boxes: Boxes = "whole",
    margin: float = 0.1,
    test_fraction: float = 0.3,
    seed: int = 0,
) -> ImportReport:
    """Write `target`/train/CLASS and `target`/test/CLASS, whole or not at all.

    boxes: `whole` copies the files' bytes, and a picture with boxes gets the class of the largest
        total box area; `crop` writes every box as a PNG of its own, widened on each side by
        `margin` times its width or height. Crops of one picture stay in one split.
    test_fraction, seed: for sets without a customary split (GC10-DET).
    Beside the folders lies import.json, which tells where the pictures come from.
    Raises UserError for a target that holds something and for a source that does not fit.
    """
    _refuse_target(target)
    if boxes == "crop" and dataset not in ("neu-det", "gc10-det"):
        raise UserError(f"--boxes crop: {dataset} has no boxes; leave it out")
    found = find_items(dataset, source)
    notes = found.notes
    if dataset in LISTS:
        rule = f"the list {LISTS[dataset]} that comes with cvgssl"
        splits = split_by_list(dataset, found.items, notes)
        items = _without_copies([item for item in found.items if item.name in splits], notes)
    else:
        rule = f"whole series by hash, seed {seed}, {test_fraction:.0%} test"
        items = _without_copies(found.items, notes)
        splits = split_by_hash(items, test_fraction, seed)
    if not items:
        raise UserError(f"SRC {source}: none of its pictures is in the split list of {dataset}")
    missing = len(notes["in the split list but not found"])
    aside = target.absolute().parent / f".{target.absolute().name}.{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        counts = _write(items, splits, aside, boxes, margin, notes)
        report = ImportReport(rule, counts, _told(notes), missing)
        options = {"dataset": dataset, "source": str(source), "boxes": boxes, "split": rule}
        if boxes == "crop":
            options["margin"] = str(margin)
        write_json(
            aside / "import.json", options | {"counts": report.counts, "notes": report.notes}
        )
        with suppress(FileNotFoundError):
            target.rmdir()  # empty, or _refuse_target would have spoken
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return report


def _told(notes: Notes) -> dict[str, list[str]]:
    """Notes without empty kinds; bytes in file names that are no UTF-8 become escapes."""
    return {
        kind: [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
        for kind, names in notes.items()
        if names
    }


def _refuse_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"DST {target}: not a folder; name a new one")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"DST {target}: not empty; name a new folder or empty it")


def _without_copies(items: Sequence[Item], notes: Notes) -> list[Item]:
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
    items: Sequence[Item], splits: Splits, root: Path, boxes: Boxes, margin: float, notes: Notes
) -> dict[str, tuple[int, int]]:
    labels: Counter[tuple[str, str]] = Counter()
    with progress("writing", len(items)) as advance:
        for item in items:
            side = root / splits[item.name]
            if boxes == "whole":
                folder = side / item.label
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(item.path, folder / item.path.name)
                written = [item.label]
            else:
                written = _write_crops(item, side, margin, notes)
            labels.update((label, side.name) for label in written)
            advance(1)
    names = sorted({label for label, _ in labels})
    return {name: (labels[name, "train"], labels[name, "test"]) for name in names}


def _write_crops(item: Item, side: Path, margin: float, notes: Notes) -> list[str]:
    """Write one PNG per box; returns their classes."""
    if not item.boxes:
        notes["no box to crop, left out"].append(str(item.path))
        return []
    picture = read_picture(item.path)
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
