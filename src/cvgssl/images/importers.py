"""Which pictures a public data set holds, as it is distributed, and their classes and boxes.

One function per data set turns whatever nesting of folders people have into named items.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cvgssl.images.import_options import DatasetName
from cvgssl.images.listing import Inventory
from cvgssl.images.voc import ObjectBox, main_class, read_voc
from cvgssl.runtime.errors import UserError

Oddities = defaultdict[str, list[str]]  # kind of oddity -> the files that have it

NEU = {
    "Cr": "crazing",
    "In": "inclusion",
    "Pa": "patches",
    "PS": "pitted_surface",
    "RS": "rolled-in_scale",
    "Sc": "scratches",
}
X_SDD = (
    "finishing roll printing",
    "iron sheet ash",
    "oxide scale of plate system",
    "oxide scale of temperature system",
    "red iron",
    "slag inclusion",
    "surface scratch",
)
X_SDD_ALSO = {  # names in other copies and in the paper
    "red iron sheet": "red iron",
    "surface scratches": "surface scratch",
    "oxide scale of temperature": "oxide scale of temperature system",
}
GC10 = {  # number -> the name in the annotations (pinyin, with and without a slip), ours
    1: ("chongkong", "punching_hole"),
    2: ("hanfeng", "welding_line"),
    3: ("yueyawan", "crescent_gap"),
    4: ("shuiban", "water_spot"),
    5: ("youban", "oil_spot"),
    6: ("siban", "silk_spot"),
    7: ("yiwu", "inclusion"),
    8: ("yahen", "rolled_pit"),
    9: ("zhehen", "crease"),
    10: ("yaozhe", "waist_folding"),
}
GC10_SERIES = re.compile(r"img_\d+_([0-9a-z]+)_\d+", re.IGNORECASE)  # camera, series, count


@dataclass(frozen=True)
class Item:
    """One picture of a data set.

    name: what a split list calls it; unique within the set.
    label: class of the whole picture.
    group: pictures of one group go to one split.
    boxes: its annotated defects, names already ours; empty where none are known.
    """

    path: Path
    name: str
    label: str
    group: str
    boxes: tuple[ObjectBox, ...] = ()


@dataclass(frozen=True)
class FoundDataset:
    """Items sorted by name, and what was odd."""

    items: tuple[Item, ...]
    notes: Oddities = field(default_factory=lambda: defaultdict(list))


def find_items(dataset: DatasetName, source: Path) -> FoundDataset:
    """Find and name the pictures of `dataset` anywhere under `source`.

    Raises UserError for a missing or alien folder and for annotations that cannot be read.
    """
    if not source.is_dir():
        raise UserError(f"SRC {source}: not a folder; give the unpacked {dataset} folder")
    notes: Oddities = defaultdict(list)
    items = _unique(_FINDERS[dataset](source, notes), notes)
    if not items:
        raise UserError(f"SRC {source}: no picture is named as {dataset} names them")
    return FoundDataset(items, notes)


def _unique(items: Iterable[Item], notes: Oddities) -> tuple[Item, ...]:
    """The first file of every name, by path."""
    first: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: str(item.path)):
        known = first.setdefault(item.name, item)
        if known is not item:
            notes["second file of the same name, left out"].append(f"{item.path} ({known.path})")
    return tuple(first[name] for name in sorted(first))


def _pictures(source: Path) -> list[Path]:
    """All pictures below `source`; says what is left out, except annotations."""
    inventory = Inventory()
    pictures = inventory.pictures(source)
    inventory.others.pop(".xml", None)
    inventory.log(source)
    return pictures


def _neu_cls(source: Path, notes: Oddities) -> list[Item]:
    codes = {code.lower(): code for code in NEU}
    items = []
    for path in _pictures(source):
        match = re.fullmatch(r"(cr|in|pa|ps|rs|sc)_(\d+)", path.stem, re.IGNORECASE)
        if not match:
            notes["name is not of this data set, left out"].append(str(path))
            continue
        code = codes[match[1].lower()]
        name = f"{code}_{int(match[2])}"
        items.append(Item(path, name, NEU[code], name))
    return items


def _neu_det(source: Path, notes: Oddities) -> list[Item]:
    """Named after the NEU-CLS picture that each one is, so both share one split list."""
    codes = {label: code for code, label in NEU.items()}
    items = []
    for path in _pictures(source):
        class_name, _, number = path.stem.rpartition("_")
        label = _neu_class(class_name)
        if label is None or not number.isdecimal():
            notes["name is not of this data set, left out"].append(str(path))
            continue
        name = f"{codes[label]}_{int(number)}"
        items.append(Item(path, name, label, name))
    return _annotated(items, source, _neu_class, notes)


def _neu_class(name: str) -> str | None:
    plain = re.sub("[-_ ]", "", name.lower())
    return next((label for label in NEU.values() if re.sub("[-_]", "", label) == plain), None)


def _x_sdd(source: Path, notes: Oddities) -> list[Item]:
    items = []
    for path in _pictures(source):
        folders = [_x_sdd_class(part) for part in path.relative_to(source).parts[:-1]]
        labels = [label for label in folders if label]
        if not labels:
            notes["not in a folder of this data set's classes, left out"].append(str(path))
            continue
        items.append(Item(path, path.stem, labels[-1], path.stem))
    return items


def _x_sdd_class(folder: str) -> str | None:
    plain = " ".join(re.sub("[-_ ]+", " ", folder).lower().split())
    plain = X_SDD_ALSO.get(plain, plain)
    return plain if plain in X_SDD else None


def _gc10(source: Path, notes: Oddities) -> list[Item]:
    """A picture's folder (1..10) gives its class only where it has no annotation."""
    items = []
    for path in _pictures(source):
        series = GC10_SERIES.match(path.stem)
        label = _gc10_class(path.parent.name) or ""
        items.append(Item(path, path.stem, label, series[1] if series else path.stem))
    return _annotated(items, source, _gc10_class, notes)


def _gc10_class(name: str) -> str | None:
    """`10_yaozhed`, `yaozhe`, `10`, `waist_folding`, `waist folding` are all one class."""
    plain = re.sub("[- ]", "_", name.strip().lower())
    number = re.match(r"\d+", plain)
    if number:
        return GC10[int(number[0])][1] if int(number[0]) in GC10 else None
    for pinyin, ours in GC10.values():
        if plain == ours or plain.startswith(pinyin):
            return ours
    return None


def _annotated(
    items: list[Item], source: Path, known_class: Callable[[str], str | None], notes: Oddities
) -> list[Item]:
    """Items with their boxes; the class is that of the largest total box area.

    Annotations are found by their file name anywhere under `source`: the common copy of NEU-DET
    keeps crazing_240's picture and annotation in different halves.
    """
    files = _annotation_files(source)
    boxes = _read_all(files.values())
    annotated = []
    for item in items:
        stem = item.path.stem
        known = []
        for box in boxes.get(stem, ()):
            label = known_class(box.name)
            if label and box.area:
                known.append(replace(box, name=label))
            else:
                kind = "without area" if label else f"of unknown class {box.name!r}"
                notes[f"box {kind}, ignored"].append(str(files[stem]))
        if not known:
            why = "without a usable box" if stem in boxes else "without an annotation"
            if not item.label:
                notes[f"{why}, left out"].append(str(item.path))
                continue
            notes[f"{why}, class taken from its name or folder"].append(str(item.path))
        elif len({box.name for box in known}) > 1:
            notes["boxes of several classes, class of the largest total area"].append(stem)
        label = main_class(known) if known else item.label
        annotated.append(replace(item, label=label, boxes=tuple(known)))
    pictures = {item.path.stem for item in items}
    for stem in sorted(files.keys() - pictures):
        notes["annotation without a picture, ignored"].append(str(files[stem]))
    return annotated


def _annotation_files(source: Path) -> dict[str, Path]:
    paths = [path for path in source.rglob("*") if path.suffix.lower() == ".xml"]
    files: dict[str, Path] = {}
    for path in sorted(paths):
        if not path.name.startswith("."):
            files.setdefault(path.stem, path)
    if not files:
        raise UserError(f"SRC {source}: no .xml annotations; give the folder that holds them too")
    return files


def _read_all(files: Iterable[Path]) -> dict[str, tuple[ObjectBox, ...]]:
    """Boxes by file stem; all unreadable annotations are reported together."""
    boxes, problems = {}, []
    for path in files:
        try:
            boxes[path.stem] = read_voc(path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return boxes


_FINDERS: dict[DatasetName, Callable[[Path, Oddities], list[Item]]] = {
    "neu-cls": _neu_cls,
    "neu-det": _neu_det,
    "x-sdd": _x_sdd,
    "gc10-det": _gc10,
}
