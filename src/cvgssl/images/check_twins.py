"""Copies and near twins of pictures: what they do to a result, as findings of the data check.

A twin in train makes a test picture easy. On a set with several exposures of each part, 75 % of
the test pictures had one, and accuracy rose by 17 points, or 0.23 for every per cent. Methods are
told apart by about one point, so from 5 % on a result is spoiled; a handful is a warning.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.check_facts import CheckedPicture, Finding, Severity
from cvgssl.images.duplicates import near_pairs
from cvgssl.runtime.parsing import counted

MANY_TWINS = 0.05  # share of the pictures in question, from which on twins spoil a result
HANDFUL = 3  # fewer pictures than this never do

Twins = tuple[CheckedPicture, CheckedPicture]


def exact_duplicates(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    """The same pixels in train and test, under two labels, or more than once."""
    groups: defaultdict[str, list[CheckedPicture]] = defaultdict(list)
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


def near_duplicates(pictures: Sequence[CheckedPicture]) -> Iterator[Finding]:
    """Near duplicates between test and train, and within each split; copies are left out."""
    one_each = {(p.entry.split, p.facts.content): p for p in reversed(pictures)}
    distinct = list(one_each.values())[::-1]
    splits = np.array([picture.entry.split for picture in distinct])
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
    across = twins(distinct, test, train)
    if across:
        seen = len({a.facts.content for a, _ in across})
        text = (
            f"test pictures with a near twin in train: {seen} of {len(test)} "
            f"({_count(across)}); accuracy may flatter"
        )
        yield Finding("near_train_test", _severity(seen, len(test)), text, _names(across))
    for split in np.unique(splits):
        members = np.flatnonzero(splits == split)
        within = twins(distinct, members, members)
        if not within:
            continue
        text = f"near duplicates within {split}: {_count(within)}"
        severity: Severity = "hint"
        if not split:
            seen = len({picture.facts.content for pair in within for picture in pair})
            text = (
                f"pictures with a near twin: {seen} of {len(members)} ({_count(within)}); a random "
                "split puts twins on both sides"
            )
            labelled = any(picture.entry.label for picture in distinct)
            severity = _severity(seen, len(members)) if labelled else "warning"
        yield Finding("near_duplicates", severity, text, _names(within))


def twins(
    pictures: Sequence[CheckedPicture], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> list[Twins]:
    """Near twins between the pictures at `rows` and at `columns`, best first, without copies.

    Give the same indices twice for pairs within a set.
    """
    hashes = np.array([picture.facts.hash for picture in pictures], np.uint64)
    thumbnails = np.array([picture.facts.thumbnail for picture in pictures])
    pairs, _ = near_pairs(rows, columns, hashes, thumbnails)
    near = [(pictures[i], pictures[j]) for i, j in pairs]
    return [(a, b) for a, b in near if a.facts.content != b.facts.content]


def _severity(seen: int, of: int) -> Severity:
    return "spoils" if seen >= max(HANDFUL, MANY_TWINS * of) else "warning"


def _count(pairs: Sequence[Twins]) -> str:
    other = sum(a.entry.label != b.entry.label for a, b in pairs)
    return counted(len(pairs), "pair") + (f", {other} of them of two classes" if other else "")


def _names(pairs: Sequence[Twins]) -> list[list[str]]:
    return [[a.shown, b.shown] for a, b in pairs]
