"""Draws: random choices of the labelled pictures, the support, from train/.

Draws are seeded, written to a file and shared by all methods, so that differences between methods
are paired. The order of pictures comes from a hash of (seed, draw, path), not from a random
generator: the same folder gives the same draws on every machine and library version, and
the support at `shot` k is contained in the support at any larger shot.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.assemble import normal
from cvgssl.images.dataset import Dataset, ImageTable, picture_names
from cvgssl.images.names import KnownNames, name_bytes
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.parsing import one_line, parse_json, printable, problem_lines, under_flag
from cvgssl.selection.label_list import UNSURE, read_labels


@dataclass(frozen=True)
class Draws:
    """Draws of labelled pictures: a support for each.

    supports: one mapping per draw, class name -> paths relative to the data folder (posix).
    shot, imbalance, seed: how they were drawn; None in a file that somebody else wrote.
    flag: what messages begin with, where the draws came from.
    """

    supports: tuple[dict[str, tuple[str, ...]], ...]
    shot: int | None = None
    imbalance: float | None = None
    seed: int | None = None
    flag: str = field(default="--draws", compare=False)

    def named(self, table: ImageTable, root: Path) -> "Draws":
        """The same with the names of `table`'s pictures, however the paths are written.

        Pictures that are not in `table` keep their path, for `rows` to report. Raises UserError
        when two paths of a draw lead to one picture.
        """
        known = KnownNames(picture_names(table, root), root)
        with under_flag(self.flag):
            supports = tuple(
                {
                    label: tuple(known.find(path) or path for path in paths)
                    for label, paths in support.items()
                }
                for support in self.supports
            )
        for number, support in enumerate(supports, start=1):
            for name, times in Counter(chain.from_iterable(support.values())).items():
                if times > 1:
                    raise UserError(
                        f"{self._place(number)}has {one_line(name)} {times} times, under different "
                        "spellings"
                    )
        return replace(self, supports=supports)

    def rows(self, number: int, table: ImageTable, root: Path) -> NDArray[np.intp]:
        """Rows [N] of `table` in the support of draw `number` (counted from 0), class by class.

        Raises UserError for pictures that `table` does not have.
        """
        places = {name: row for row, name in enumerate(picture_names(table, root))}
        rows, missing = [], []
        for label, paths in self.supports[number].items():
            for name in paths:
                row = places.get(name)
                if row is None:
                    missing.append(name)
                elif table.classes[table.labels[row]] != label:
                    raise UserError(
                        f"{self._place(number + 1)}has {one_line(name)} under {label}, but "
                        f"its class is {table.classes[table.labels[row]]}"
                    )
                else:
                    rows.append(row)
        if missing:
            raise UserError(
                f"{self._place(number + 1)}names {len(missing)} pictures that are not "
                f"in the training data, the first {one_line(missing[0])}; correct the paths, or "
                "use the folder that they are of"
            )
        return np.array(rows, dtype=np.intp)

    def _place(self, number: int) -> str:
        """What a message begins with; without a number for a list of labels, which is one."""
        return f"{self.flag}: " + ("" if self.flag.startswith("--labels") else f"draw {number} ")


def shots_per_class(shot: int, classes: int, imbalance: float) -> NDArray[np.int64]:
    """Pictures per class, int64 [C]: class i of C gets shot * imbalance^(-i/(C-1)), at least 1.

    `imbalance` is the ratio of the largest to the smallest class (Cui et al. 2019, CVPR,
    "Class-balanced loss": long-tailed sets by exponential decay); 1 is balanced.
    """
    steps = np.arange(classes) / max(classes - 1, 1)
    counts = np.floor(shot * imbalance**-steps + 0.5).astype(np.int64)
    return np.maximum(counts, 1)


def draw(dataset: Dataset, shot: int, count: int, seed: int, imbalance: float = 1.0) -> Draws:
    """Draw `count` supports of `shot` pictures per class from the training split.

    Raises UserError that names every class with too few pictures.
    """
    table = dataset.train
    wanted = shots_per_class(shot, len(table.classes), imbalance)
    short = [
        f"{name} has {have} of {need}"
        for name, have, need in zip(table.classes, table.counts(), wanted, strict=True)
        if have < need
    ]
    if short:
        raise UserError(
            f"--shot {shot}: too few training pictures in {len(short)} of {len(table.classes)} "
            f"classes: {', '.join(short)}; lower --shot or add pictures"
        )
    names = picture_names(table, dataset.root)
    by_class = {
        label: [names[row] for row in np.flatnonzero(table.labels == label)]
        for label in range(len(table.classes))
    }
    drawn = []
    for number in range(count):
        support = {}
        for label, name in enumerate(table.classes):
            order = sorted(by_class[label], key=lambda path: _rank(seed, number, path))
            support[name] = tuple(order[: wanted[label]])
        drawn.append(support)
    return Draws(tuple(drawn), shot, imbalance, seed)


def save_draws(draws: Draws, path: Path) -> None:
    """Write draws as JSON."""
    value = {"shot": draws.shot, "imbalance": draws.imbalance, "seed": draws.seed}
    write_json(path, value | {"supports": draws.supports})


def load_draws(path: Path, classes: tuple[str, ...]) -> Draws:
    """Read draws; raises UserError unless every draw has every class, and a picture only once.

    Paths are as the file has them; `Draws.named` gives them the names of a data set.
    """
    if path.suffix.lower() == ".csv":
        raise UserError(f"--draws {path}: is a list of labels; write --labels {path}")
    with under_flag("--draws"):
        value = parse_json(path, "a file of draws", "name a draws.json of an earlier run")
    supports = _supports_of(value)
    if supports is None:
        raise UserError(f"--draws {path}: not a draws file (supports: class -> paths)")
    for number, support in enumerate(supports, start=1):
        if set(support) != set(classes) or not all(support.values()):
            raise UserError(
                f"--draws {path}: draw {number} has the classes {_classes_text(sorted(support))}; "
                f"the data have {_classes_text(classes)}, and each needs a picture"
            )
        for name, times in Counter(chain.from_iterable(support.values())).items():
            if times > 1:
                raise UserError(f"--draws {path}: draw {number} has {one_line(name)} {times} times")
    if not supports:
        raise UserError(f"--draws {path}: holds no draws")
    return Draws(
        supports,
        _number(value, "shot", int),
        _number(value, "imbalance", float),
        _number(value, "seed", int),
    )


def _supports_of(value: Any) -> tuple[dict[str, tuple[str, ...]], ...] | None:
    """The supports of a parsed draws file; None when it is none."""
    supports = value.get("supports") if isinstance(value, dict) else None
    if not isinstance(supports, list) or not all(isinstance(support, dict) for support in supports):
        return None
    lists = [paths for support in supports for paths in support.values()]
    if not all(isinstance(paths, list) for paths in lists) or not all(
        isinstance(path, str) for paths in lists for path in paths
    ):
        return None
    return tuple(
        {normal(name): tuple(paths) for name, paths in support.items()} for support in supports
    )


def _number(value: dict[str, Any], key: str, kind: type[int] | type[float]) -> Any:
    """How the draws were made, for the record; None where the file does not say it."""
    number = value.get(key)
    if not isinstance(number, int | float) or not abs(number) < 2**63:
        return None
    return number if kind(number) == number else None


def _classes_text(classes: Sequence[str], most: int = 20) -> str:
    more = f", ... ({len(classes)})" if len(classes) > most else ""
    return printable(", ".join(classes[:most])) + more


def load_labels(path: Path, classes: tuple[str, ...]) -> Draws:
    """Read a CSV of path,label, as `cvgssl select` writes it for filling in, as a single draw.

    Classes may differ in size; pictures labelled "?" are left out. Raises UserError with one line
    per problem.
    """
    support: dict[str, list[str]] = {name: [] for name in classes}
    problems = []
    for line in read_labels(path, "--labels"):
        label, where = normal(line.label), f"--labels {path} line {line.number}"
        if not label:
            problems.append(
                f"{where}: {one_line(line.path)} has no label; write one, or ? for unsure"
            )
        elif label in support:
            support[label].append(line.path)
        elif label != UNSURE:
            problems.append(
                f"{where}: {one_line(label)!r} is none of the classes {_classes_text(classes)}; "
                "for classes of your own: `cvgssl fit --class-folders false`"
            )
    if problems:
        raise UserError(problem_lines(problems))
    missing = [name for name, paths in support.items() if not paths]
    if missing:
        raise UserError(
            f"--labels {path}: no picture of {', '.join(missing)}; `cvgssl select --labels "
            f"{path}` finds more to label"
        )
    return Draws(
        ({name: tuple(paths) for name, paths in support.items()},), flag=f"--labels {path}"
    )


def _rank(seed: int, number: int, path: str) -> bytes:
    return hashlib.sha256(name_bytes(f"{seed}/{number}/{path}")).digest()
