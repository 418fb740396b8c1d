"""Copies among the checked pictures: exact ones and near ones."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.check_finding import Finding, Picture, Severity, counted
from cvgssl.images.duplicates import near_pairs

Twins = tuple[Picture, Picture]


def exact_duplicates(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """The same pixels in train and test, under two labels, or more than once."""
    groups: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        groups[picture.facts.content].append(picture)
    shared, two_labels, copies = [], [], []
    for group in groups.values():
        names = [picture.shown for picture in group]
        splits = Counter(picture.entry.split for picture in group)
        if splits["train"] and splits["test"]:
            shared.append(names)
        if len({picture.entry.label for picture in group} - {""}) > 1:
            two_labels.append(names)
        if max(splits.values()) > 1:
            copies.append(names)
    if shared:
        text = f"in train and in test: {counted(len(shared), 'picture')}"
        yield Finding("train_test_overlap", "spoils", text, shared)
    if two_labels:
        text = f"under two labels: {counted(len(two_labels), 'picture')}"
        yield Finding("two_labels", "spoils", text, two_labels)
    if copies:
        extra = sum(map(len, copies)) - len(copies)
        text = (
            f"more than once: {counted(len(copies), 'picture')} ({counted(extra, 'file')} too many)"
        )
        yield Finding("exact_duplicates", "warning", text, copies)


def near_duplicates(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Near duplicates between test and train, and within each split; copies are left out."""
    one_each = {(p.entry.split, p.facts.content): p for p in reversed(pictures)}
    distinct = list(one_each.values())[::-1]
    hashes = np.array([picture.facts.hash for picture in distinct], np.uint64)
    thumbnails = np.array([picture.facts.thumbnail for picture in distinct])
    splits = np.array([picture.entry.split for picture in distinct])

    def twins(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> list[Twins]:
        pairs, _ = near_pairs(rows, columns, hashes, thumbnails)
        found = [(distinct[i], distinct[j]) for i, j in pairs]
        return [(a, b) for a, b in found if a.facts.content != b.facts.content]

    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
    across = twins(test, train)
    if across:
        seen = len({a.facts.content for a, _ in across})
        text = (
            f"test pictures with a near twin in train: {seen} of {len(test)} "
            f"({_count(across)}); accuracy may flatter"
        )
        yield Finding("near_train_test", "warning", text, _names(across))
    for split in np.unique(splits):
        members = np.flatnonzero(splits == split)
        within = twins(members, members)
        if within:
            place = f"within {split}" if split else "(keep them in one split)"
            severity: Severity = "hint" if split else "warning"
            text = f"near duplicates {place}: {_count(within)}"
            yield Finding("near_duplicates", severity, text, _names(within))


def _count(pairs: Sequence[Twins]) -> str:
    other = sum(a.entry.label != b.entry.label for a, b in pairs)
    return counted(len(pairs), "pair") + (f", {other} of them of two classes" if other else "")


def _names(pairs: Sequence[Twins]) -> list[list[str]]:
    return [[a.shown, b.shown] for a, b in pairs]
