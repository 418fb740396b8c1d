"""Files that are no pictures of a class: masks beside their pictures, constant pictures."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cvgssl.images.check_facts import CheckedPicture, Finding
from cvgssl.images.duplicates import LEAST_DETAIL
from cvgssl.images.likeness import detail_correlations
from cvgssl.images.names import comparable
from cvgssl.runtime.parsing import counted

_MASK_WORDS = re.compile(
    r"(?<=.)[ _.-](?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|annotations?)$"
)


def masks_of(pictures: Sequence[CheckedPicture]) -> dict[CheckedPicture, CheckedPicture]:
    """The masks among pictures, each with the picture that it belongs to.

    A mask looks like one (`looks_like_map`) and has the name of a picture that does not, as `x.png`
    or `x_mask.png` has beside `x.jpg`. In another folder than its picture it counts only where
    such files are at least half of the folder, since `1.png` is a common name.
    """
    by_name: defaultdict[str, list[CheckedPicture]] = defaultdict(list)
    sizes: defaultdict[Path, int] = defaultdict(int)
    for picture in pictures:
        sizes[picture.entry.path.parent] += 1
        if not picture.facts.map_like:
            by_name[_stem(picture)].append(picture)
    masks: dict[CheckedPicture, CheckedPicture] = {}
    elsewhere: defaultdict[Path, list[tuple[CheckedPicture, CheckedPicture]]] = defaultdict(list)
    for picture in pictures:
        partners = by_name[_picture_stem(picture)] if picture.facts.map_like else []
        folder = picture.entry.path.parent
        beside = [partner for partner in partners if partner.entry.path.parent == folder]
        if beside:
            masks[picture] = beside[0]
        elif partners:
            elsewhere[folder].append((picture, partners[0]))
    for folder, pairs in elsewhere.items():
        several_values = any(mask.facts.constant is None for mask, _ in pairs)
        if several_values and 2 * len(pairs) >= sizes[folder]:
            masks.update(pairs)
    return masks


def mask_findings(masks: dict[CheckedPicture, CheckedPicture]) -> Iterator[Finding]:
    """Masks spoil a result where they count as pictures of a class."""
    if masks:
        labelled = any(mask.entry.label for mask in masks)
        what = "counted as pictures of a class" if labelled else "counted as pictures"
        text = (
            f"masks beside pictures of the same name, {what}: {len(masks)}; move them out of DATA"
        )
        yield Finding(
            "masks",
            "spoils" if labelled else "warning",
            text,
            [[mask.shown, picture.shown] for mask, picture in masks.items()],
        )


def constant_pictures(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    """Pictures with one value all over."""
    constant = [p for p in pictures if p.facts.constant is not None]
    if constant:
        text = (
            f"one value all over, nothing to see: {counted(len(constant), 'picture')}; remove "
            f"{'it' if len(constant) == 1 else 'them'}, or correct the export"
        )
        items = [[p.shown, f"value {p.facts.constant}"] for p in constant]
        yield Finding("constant", "warning", text, items)


def same_names(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    """Pictures in one folder whose names differ in the ending only, and that are no masks."""
    groups: defaultdict[tuple[Path, str], list[CheckedPicture]] = defaultdict(list)
    for picture in pictures:
        groups[picture.entry.path.parent, _stem(picture)].append(picture)
    pairs = [
        (group[0], other)
        for group in groups.values()
        for other in group[1:]
        if other.entry.path != group[0].entry.path
    ]
    if not pairs:
        return
    thumbnails = np.array([picture.facts.thumbnail for pair in pairs for picture in pair])
    alike = detail_correlations(np.arange(2 * len(pairs)).reshape(-1, 2), thumbnails)
    copies: list[list[str]] = []
    unlike: list[list[str]] = []
    for (first, second), score in zip(pairs, alike, strict=True):
        same = score >= LEAST_DETAIL or first.facts.content == second.facts.content
        (copies if same else unlike).append([first.shown, second.shown])
    if copies:
        text = (
            "the same picture twice under one name with two endings (a converted or smaller copy): "
            f"{len(copies)}; keep one of them"
        )
        yield Finding("same_name", "warning", text, copies)
    if unlike:
        text = (
            f"unlike pictures under one name with two endings: {len(unlike)}; move depth maps, "
            "heat maps and the like out of DATA"
        )
        yield Finding("same_name_unlike", "warning", text, unlike)


def _stem(picture: CheckedPicture) -> str:
    return comparable(picture.entry.path.stem).casefold()


def _picture_stem(mask: CheckedPicture) -> str:
    """The stem of the picture that a mask of this name belongs to."""
    return _MASK_WORDS.sub("", _stem(mask))
