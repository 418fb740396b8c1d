"""What would spoil a result on a folder of pictures: searched for, counted, reported.

What spoils: files that cannot be read, a picture in both train and test, a picture under two
labels, many near twins across train and test, masks counted as pictures of a class, a class of
test that train does not have, a class whose name is no UTF-8, and a train or test folder beside
which another split takes the place of its other half. "A picture" means its decoded pixels, so a
PNG copy of a BMP counts. Everything else is a warning or a hint.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cvgssl.images.check_facts import (
    CheckedPicture,
    Finding,
    FolderContents,
    Listed,
    Severity,
    below,
    list_contents,
    measure_all,
    shown_path,
)
from cvgssl.images.check_masks import constant_pictures, mask_findings, masks_of, same_names
from cvgssl.images.check_twins import exact_duplicates, near_duplicates
from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.layout import HALVES
from cvgssl.images.names import comparable, is_utf8
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import counted, name_remedy, printable

SHORTCUT_LEAST = 5  # files that must share a property before it counts as a shortcut to a label
IMBALANCE = 3  # largest class by smallest, from which on accuracy alone misleads
CAMERA_BITS = (10, 12, 14)
KINDS = {
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


@dataclass(frozen=True)
class CheckReport:
    """counts[class][split]; a split or class without a name is the empty string."""

    data: str
    pictures: int
    counts: dict[str, dict[str, int]]
    findings: list[Finding]

    @property
    def spoiled(self) -> bool:
        """Whether a result on these pictures could not be believed."""
        return any(finding.severity == "spoils" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"spoiled": self.spoiled} | asdict(self)


def check_data(data: Path, max_megapixels: int = MAX_MEGAPIXELS) -> CheckReport:
    """Check train/ and test/ folders, a folder of classes, a split CSV or a plain folder.

    Raises UserError when `data` is none of these or holds no picture.
    """
    contents = list_contents(data)
    entries = contents.listed
    if not entries:
        raise UserError(f"{data}: no pictures; give a folder of them or a CSV that names them")
    facts = measure_all([entry.path for entry in entries], max_megapixels)
    root = data.parent if data.is_file() else data
    readable, unreadable = [], []
    for entry, fact in zip(entries, facts, strict=True):
        shown = shown_path(entry.path, root)
        if isinstance(fact, str):
            unreadable.append([shown, fact])
        else:
            readable.append(CheckedPicture(entry, fact, shown))
    masks = masks_of(readable)
    pictures = [picture for picture in readable if picture not in masks]
    findings = [
        *_unreadable(unreadable),
        *_left_out(contents),
        *_names_without_text(entries, root),
        *_alike(entries, None if data.is_file() else root),
        *_classes(entries, root),
        *mask_findings(masks),
        *constant_pictures(pictures),
        *same_names(pictures),
        *exact_duplicates(pictures),
        *near_duplicates(pictures),
        *_extensions(pictures),
        *_shortcuts(pictures),
        *_sizes(pictures),
        *_bit_depth(pictures),
    ]
    order: tuple[Severity, ...] = ("spoils", "warning", "hint")
    findings.sort(key=lambda finding: order.index(finding.severity))
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        splits = counts.setdefault(entry.label, {})
        splits[entry.split] = splits.get(entry.split, 0) + 1
    return CheckReport(str(data), len(entries), dict(sorted(counts.items())), findings)


def _unreadable(bad: list[list[str]]) -> Iterator[Finding]:
    if bad:
        yield Finding("unreadable", "spoils", f"{counted(len(bad), 'file')} cannot be read", bad)


def _left_out(contents: FolderContents) -> Iterator[Finding]:
    if contents.beside:
        names = [printable(name) for name in contents.beside]
        splits = {item.split for item in contents.listed}
        absent = [name for name in HALVES if name not in splits]
        remedy = f"rename it to {absent[0]}" if absent else "only train/ and test/ are used"
        severity: Severity = "spoils" if absent else "warning"
        text = f"left out: {', '.join(f'{name}/' for name in names)}; {remedy}"
        yield Finding("left_out_folder", severity, text, [[name] for name in names])
    for sentence in contents.left_out:
        yield Finding("left_out", "hint", f"left out: {sentence}", [])


def _names_without_text(entries: Sequence[Listed], root: Path) -> Iterator[Finding]:
    """Names whose bytes are no UTF-8: a list or result in a text file cannot hold them."""
    odd = [entry.path for entry in entries if not is_utf8(str(entry.path))]
    strange = [path for path in (below(each, root) for each in odd) if not is_utf8(str(path))]
    files = [[printable(str(path))] for path in strange if not is_utf8(path.name)]
    folders = sorted(
        {
            printable(str(folder))
            for path in strange
            for folder in path.parents
            if not is_utf8(folder.name)
        }
    )
    if folders:
        text = f"folder names that are no UTF-8: {len(folders)}; {name_remedy('them')}"
        yield Finding("folder_name", "spoils", text, [[name] for name in folders])
    if files:
        text = (
            f"file names that are no UTF-8: {len(files)}; lists show their bytes as \\xNN, better "
            f"{name_remedy('them')}"
        )
        yield Finding("file_name", "warning", text, files)


def _alike(entries: Sequence[Listed], root: Path | None) -> Iterator[Finding]:
    """Classes that some systems take for one; root: the data folder, None of a CSV."""
    names = set()
    for entry in entries:
        if entry.label and root is not None:  # blanks at its ends are no part of a label
            names.add(entry.path.relative_to(root).parts[1 if entry.split else 0])
        elif entry.label:
            names.add(entry.label)
    alike = defaultdict(set)
    for name in names:
        alike[comparable(name).casefold().strip(" .")].add(printable(name))
    groups = [sorted(group) for _, group in sorted(alike.items()) if len(group) > 1]
    if groups:
        shown = "; ".join(" and ".join(map(repr, group)) for group in groups)
        text = f"classes that differ only in case, blanks or dots: {shown}; Windows merges them"
        yield Finding("alike_classes", "warning", text, groups)


def _classes(entries: Sequence[Listed], root: Path) -> Iterator[Finding]:
    loose = [[shown_path(entry.path, root)] for entry in entries if not entry.label]
    if loose and len(loose) < len(entries):
        text = f"outside any class folder, without a label: {counted(len(loose), 'picture')}"
        yield Finding("no_label", "warning", text, loose)
    counts = Counter((entry.split, entry.label) for entry in entries if entry.label)
    labels = {
        split: {label for s, label in counts if s == split} for split in ("train", "test", "")
    }
    if labels["train"] and labels["test"]:
        unknown = sorted(labels["test"] - labels["train"])
        untested = sorted(labels["train"] - labels["test"])
        if unknown:
            text = f"classes of test that train does not have: {', '.join(unknown)}"
            yield Finding("class_missing_from_train", "spoils", text, [[name] for name in unknown])
        if untested:
            text = f"classes of train that test does not have: {', '.join(untested)}"
            yield Finding("class_missing_from_test", "warning", text, [[name] for name in untested])
    for split in ("train", ""):
        yield from _imbalance({label: counts[split, label] for label in sorted(labels[split])})


def _imbalance(sizes: dict[str, int]) -> Iterator[Finding]:
    if len(sizes) < 2:
        return
    most, least = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    ratio = sizes[most] / sizes[least]
    if ratio >= IMBALANCE:
        text = (
            f"{most} has {ratio:.1f} times the pictures of {least}: "
            "look at macro-recall, not at accuracy alone"
        )
        yield Finding(
            "imbalance", "warning", text, [[most, str(sizes[most])], [least, str(sizes[least])]]
        )


def _extensions(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    wrong = [
        [picture.shown, f"is {picture.facts.kind}"]
        for picture in pictures
        if KINDS.get(picture.entry.path.suffix.lower(), picture.facts.kind) != picture.facts.kind
    ]
    if wrong:
        text = f"extension of another format: {counted(len(wrong), 'file')}; read all the same"
        yield Finding("extension", "warning", text, wrong)


def _shortcuts(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    """A file property that only one class has, while others exist, gives the label away."""
    labelled = [picture for picture in pictures if picture.entry.label]
    if len({picture.entry.label for picture in labelled}) < 2:
        return
    properties = {
        "format": [picture.facts.kind for picture in labelled],
        "size": [f"{p.facts.size[1]}x{p.facts.size[0]}" for p in labelled],
        "colour": ["gray" if picture.facts.gray else "colour" for picture in labelled],
    }
    for name, values in properties.items():
        for value, count in Counter(values).items():
            holders = [p for p, held in zip(labelled, values, strict=True) if held == value]
            classes = {picture.entry.label for picture in holders}
            if len(classes) == 1 and SHORTCUT_LEAST <= count < len(labelled):
                text = (
                    f"all {count} {value} files are of class {classes.pop()}: "
                    f"a model can learn the {name} instead of the defect"
                )
                yield Finding(f"{name}_shortcut", "warning", text, [[p.shown] for p in holders])


def _sizes(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    sizes = Counter(picture.facts.size for picture in pictures)
    if len(sizes) > 1:
        (height, width), count = sizes.most_common(1)[0]
        other = [
            [p.shown, f"{p.facts.size[1]}x{p.facts.size[0]}"]
            for p in pictures
            if p.facts.size != (height, width)
        ]
        text = f"{len(sizes)} sizes: {count} of {len(pictures)} pictures are {width}x{height}"
        yield Finding("sizes", "hint", text, other)


def _bit_depth(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    deep = [p for p in pictures if p.facts.brightest is not None]
    brightest = max((p.facts.brightest or 0 for p in deep), default=0)
    bits = next((bits for bits in CAMERA_BITS if brightest < 2**bits), None)
    if deep and bits:
        text = (
            f"{counted(len(deep), '16-bit file')} with no sample above {brightest}; "
            f"if the camera gives {bits} bits, use --bit-depth {bits}"
        )
        yield Finding("bit_depth", "hint", text, [[picture.shown] for picture in deep])
