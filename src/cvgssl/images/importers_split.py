"""Who goes to train and who to test when a public data set is imported.

NEU-CLS, NEU-DET and X-SDD have a list that ships with the package, so that two people get the
same split. NEU: numbers 1..240 of each class train, 241..300 test. X-SDD: 70/30 within each
class, drawn once. `dropped` marks pictures equal to another one of the set. GC10-DET has no
customary split: whole series, pictures with one serial number in their names, are drawn by hash,
which depends on names and seed alone.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files

from cvgssl.images.importers import NEU, Item, Name, Notes

Splits = dict[str, str]  # item name -> "train" or "test"

LISTS: dict[Name, str] = {"neu-cls": "neu-cls.csv", "neu-det": "neu-cls.csv", "x-sdd": "x-sdd.csv"}


def split_by_list(dataset: Name, items: Sequence[Item], notes: Notes) -> Splits:
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


def _own_name(dataset: Name, name: str) -> str:
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
        return hashlib.sha256(f"{seed}:{group}".encode()).digest()

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
