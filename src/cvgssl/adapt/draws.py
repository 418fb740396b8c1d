"""Draws: which pictures of train/ are the labelled support of each run.

Draws are seeded, written to a file and shared by all methods, so that differences between methods
are paired. The order of pictures comes from a hash of (seed, run, path), not from a random
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
    """The supports of all runs.

    runs: one mapping per run, class name -> paths relative to the data folder (posix).
    shot, imbalance, seed: how they were drawn; None in a file that somebody else wrote.
    flag: what messages begin with, where the draws came from.
    """

    runs: tuple[dict[str, tuple[str, ...]], ...]
    shot: int | None = None
    imbalance: float | None = None
    seed: int | None = None
    flag: str = field(default="--draws", compare=False)

    def named(self, table: ImageTable, root: Path) -> "Draws":
        """The same with the names of `table`'s pictures, however the paths are written.

        Pictures that are not in `table` keep their path, for `rows` to report. Raises UserError
        when two paths of a run lead to one picture.
        """
        known = KnownNames(picture_names(table, root), root)
        with under_flag(self.flag):
            runs = tuple(
                {
                    label: tuple(known.find(path) or path for path in paths)
                    for label, paths in run.items()
                }
                for run in self.runs
            )
        for number, run in enumerate(runs, start=1):
            for name, times in Counter(chain.from_iterable(run.values())).items():
                if times > 1:
                    raise UserError(
                        f"{self.flag}: run {number} has {one_line(name)} {times} times, under "
                        "different spellings"
                    )
        return replace(self, runs=runs)

    def rows(self, run: int, table: ImageTable, root: Path) -> NDArray[np.intp]:
        """Rows [N] of `table` in the support of `run` (counted from 0), class by class.

        Raises UserError for pictures that `table` does not have.
        """
        places = {name: row for row, name in enumerate(picture_names(table, root))}
        rows, missing = [], []
        for label, paths in self.runs[run].items():
            for name in paths:
                row = places.get(name)
                if row is None:
                    missing.append(name)
                elif table.classes[table.labels[row]] != label:
                    raise UserError(
                        f"{self.flag}: run {run + 1} has {one_line(name)} under {label}, but "
                        f"its class is {table.classes[table.labels[row]]}"
                    )
                else:
                    rows.append(row)
        if missing:
            raise UserError(
                f"{self.flag}: run {run + 1} names {len(missing)} pictures that are not in the "
                f"training data, the first {one_line(missing[0])}; draw again or use the folder "
                "it was drawn from"
            )
        return np.array(rows, dtype=np.intp)


def shots_per_class(shot: int, classes: int, imbalance: float) -> NDArray[np.int64]:
    """Pictures per class, int64 [C]: class i of C gets shot * imbalance^(-i/(C-1)), at least 1.

    `imbalance` is the ratio of the largest to the smallest class (Cui et al. 2019, CVPR,
    "Class-balanced loss": long-tailed sets by exponential decay); 1 is balanced.
    """
    steps = np.arange(classes) / max(classes - 1, 1)
    counts = np.floor(shot * imbalance**-steps + 0.5).astype(np.int64)
    return np.maximum(counts, 1)


def draw(dataset: Dataset, shot: int, runs: int, seed: int, imbalance: float = 1.0) -> Draws:
    """Draw `runs` supports of `shot` pictures per class from the training split.

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
    for run in range(runs):
        support = {}
        for label, name in enumerate(table.classes):
            order = sorted(by_class[label], key=lambda path: _rank(seed, run, path))
            support[name] = tuple(order[: wanted[label]])
        drawn.append(support)
    return Draws(tuple(drawn), shot, imbalance, seed)


def save_draws(draws: Draws, path: Path) -> None:
    """Write draws as JSON."""
    value = {"shot": draws.shot, "imbalance": draws.imbalance, "seed": draws.seed}
    write_json(path, value | {"runs": draws.runs})


def load_draws(path: Path, classes: tuple[str, ...]) -> Draws:
    """Read draws; raises UserError unless every run has every class, and a picture only once.

    Paths are as the file has them; `Draws.named` gives them the names of a data set.
    """
    if path.suffix.lower() == ".csv":
        raise UserError(f"--draws {path}: is a list of labels; write --labels {path}")
    with under_flag("--draws"):
        value = parse_json(path, "a file of draws", "name a draws.json of an earlier run")
    runs = _runs_of(value)
    if runs is None:
        raise UserError(f"--draws {path}: not a draws file (runs of class -> paths)")
    for number, run in enumerate(runs, start=1):
        if set(run) != set(classes) or not all(run.values()):
            raise UserError(
                f"--draws {path}: run {number} has the classes {_classes_text(sorted(run))}; "
                f"the data have {_classes_text(classes)}, and each needs a picture"
            )
        for name, times in Counter(chain.from_iterable(run.values())).items():
            if times > 1:
                raise UserError(f"--draws {path}: run {number} has {one_line(name)} {times} times")
    if not runs:
        raise UserError(f"--draws {path}: holds no runs")
    return Draws(
        runs,
        _number(value, "shot", int),
        _number(value, "imbalance", float),
        _number(value, "seed", int),
    )


def _runs_of(value: Any) -> tuple[dict[str, tuple[str, ...]], ...] | None:
    """The runs of a parsed draws file; None when it is none."""
    runs = value.get("runs") if isinstance(value, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        return None
    lists = [paths for run in runs for paths in run.values()]
    if not all(isinstance(paths, list) for paths in lists) or not all(
        isinstance(path, str) for paths in lists for path in paths
    ):
        return None
    return tuple({normal(name): tuple(paths) for name, paths in run.items()} for run in runs)


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
    run: dict[str, list[str]] = {name: [] for name in classes}
    problems = []
    for line in read_labels(path, "--labels"):
        label, where = normal(line.label), f"--labels {path} line {line.number}"
        if not label:
            problems.append(
                f"{where}: {one_line(line.path)} has no label; write one, or ? for unsure"
            )
        elif label in run:
            run[label].append(line.path)
        elif label != UNSURE:
            problems.append(
                f"{where}: {one_line(label)!r} is none of the classes {_classes_text(classes)}; "
                "for classes of your own: `cvgssl fit --class-folders false`"
            )
    if problems:
        raise UserError(problem_lines(problems))
    missing = [name for name, paths in run.items() if not paths]
    if missing:
        raise UserError(
            f"--labels {path}: no picture of {', '.join(missing)}; `cvgssl select --labels "
            f"{path}` finds more to label"
        )
    return Draws(({name: tuple(paths) for name, paths in run.items()},), flag=f"--labels {path}")


def _rank(seed: int, run: int, path: str) -> bytes:
    return hashlib.sha256(name_bytes(f"{seed}/{run}/{path}")).digest()
