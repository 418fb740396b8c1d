"""Draws of labelled and of test pictures, recorded in files so that all cells share them.

The choice comes from hashes of (seed, setting, draw, name), as the draws of labelled pictures do:
the same on every machine and library version. All methods share it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from cvgssl.adapt.draws import Draws, draw, load_draws, load_labels, save_draws
from cvgssl.bench.config import BenchConfig
from cvgssl.bench.entries import ChosenLabels
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.images.names import name_bytes
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json

BALANCED, DIRICHLET = "transductive-balanced", "transductive-dirichlet"


def balanced_queries(test: FeatureTable, count: int, seed: int) -> list[list[str]]:
    """For each draw names of as many test pictures of every class as the smallest class has."""
    by_class = _by_class(test)
    least = min(map(len, by_class))
    return [
        _pick(by_class, [least] * len(by_class), (seed, BALANCED, draw)) for draw in range(count)
    ]


def dirichlet_queries(
    test: FeatureTable, count: int, seed: int, alpha: float, per_class: int
) -> list[list[str]]:
    """For each draw names of test pictures whose class shares come from Dirichlet(alpha).

    Veilleux, Boudiaf, Piantanida, Ben Ayed 2021 (NeurIPS), "Realistic evaluation of transductive
    few-shot learning", with alpha = 2. A draw asks classes * per_class pictures; fewer, with the
    same shares, where a class has not so many. Classes may be absent from a draw.
    """
    by_class = _by_class(test)
    having = np.array([len(names) for names in by_class])
    drawn = []
    for number in range(count):
        key = (seed, DIRICHLET, number)
        uniform = [_uniform(*key, "share", label) for label in range(len(by_class))]
        shares = gammaincinv(alpha, uniform)  # gamma variates; divided by their sum: Dirichlet
        shares = shares / shares.sum()
        total = min(per_class * len(by_class), float((having / shares).min()))
        drawn.append(_pick(by_class, _whole(shares * total, having), key))
    return drawn


def _whole(wanted: NDArray[np.float64], having: NDArray[np.int64]) -> list[int]:
    """Whole numbers that keep the sum: those with the largest remainders are rounded up."""
    counts = np.minimum(np.floor(wanted + 1e-9).astype(np.int64), having)
    left = round(float(wanted.sum())) - int(counts.sum())
    for label in np.argsort(counts - wanted, kind="stable"):
        if left > 0 and counts[label] < having[label]:
            counts[label] += 1
            left -= 1
    if counts.sum() == 0:
        counts[np.argmax(wanted)] = 1
    return [int(count) for count in counts]


def _by_class(test: FeatureTable) -> list[list[str]]:
    """Names of each class that has test pictures."""
    groups = [
        [test.names[row] for row in np.flatnonzero(test.labels == label)]
        for label in sorted(set(test.labels.tolist()) - {UNLABELLED})
    ]
    assert groups, "checked when features are loaded"
    return groups


def _pick(
    by_class: Sequence[Sequence[str]], counts: Sequence[int], key: tuple[Any, ...]
) -> list[str]:
    chosen: list[str] = []
    for names, count in zip(by_class, counts, strict=True):
        chosen += sorted(names, key=lambda name: _hash(*key, name))[:count]
    return sorted(chosen)


def _uniform(*key: object) -> float:
    """In the open interval (0, 1)."""
    return (int.from_bytes(_hash(*key)[:6], "big") + 0.5) / 2**48


def _hash(*key: object) -> bytes:
    return hashlib.sha256(name_bytes("/".join(map(str, key)))).digest()


DRAWS = "draws"


@dataclass(frozen=True)
class Recorded:
    """The draws of one data set.

    draws: of labelled pictures, by shot. skipped: why a shot that was asked for is not there.
    queries: names of the test pictures of each draw, by setting; a setting that is not there asks
        all of them.
    """

    draws: dict[int, Draws]
    skipped: dict[int, str]
    queries: dict[str, list[list[str]]]


@dataclass(frozen=True)
class Chosen:
    """Labelled pictures that somebody chose; `shot`: how many per class, on the average."""

    name: str
    shot: int
    draws: Draws


def record(table: FeatureTable, data: str, config: BenchConfig) -> Recorded:
    """Draw for every shot and setting, and write the draws to `out/draws/DATA/`."""
    draws, skipped = draws_of(table, config.shots, config.num_draws, config.seed)
    test = table.split("test")
    queries = dict[str, list[list[str]]]()
    if BALANCED in config.settings:
        queries[BALANCED] = balanced_queries(test, config.num_draws, config.seed)
    if DIRICHLET in config.settings:
        queries[DIRICHLET] = dirichlet_queries(
            test, config.num_draws, config.seed, config.alpha, config.queries_per_class
        )
    folder = config.out / DRAWS / file_name(data)
    for shot, of_shot in draws.items():
        save_draws(of_shot, folder / f"shot_{shot}.json")
    for setting, names in queries.items():
        write_json(folder / f"queries_{setting}.json", {"seed": config.seed, "queries": names})
    return Recorded(draws, skipped, queries)


def draws_of(
    table: FeatureTable, shots: Sequence[int], count: int, seed: int
) -> tuple[dict[int, Draws], dict[int, str]]:
    """The very draws of `adapt.draws.draw`, and a reason for each shot that cannot be drawn."""
    dataset = table.dataset()
    least = int(dataset.train.counts().min())
    skipped = {}
    for shot in shots:
        if shot > least:
            try:
                draw(dataset, shot, 1, seed)
            except UserError as error:
                skipped[shot] = str(error).removeprefix(f"--shot {shot}: ").split(";")[0]
    usable = [shot for shot in shots if shot not in skipped]
    if not usable:
        return {}, skipped
    largest = draw(dataset, max(usable), count, seed)
    # a support is contained in the larger ones, so one drawing serves all
    draws = {
        shot: Draws(
            tuple(
                {name: paths[:shot] for name, paths in support.items()}
                for support in largest.supports
            ),
            shot,
            largest.imbalance,
            seed,
        )
        for shot in usable
    }
    return draws, skipped


def read_chosen(table: FeatureTable, chosen: Sequence[ChosenLabels]) -> list[Chosen]:
    """The lists, each with the number of labels per class that it comes nearest to.

    Raises UserError, one line per problem, for pictures or classes that are not in train.
    """
    train = table.dataset().train
    made, problems = [], []
    for choice in chosen:
        supports = list[dict[str, tuple[str, ...]]]()
        for file in choice.files:
            try:
                draws = (load_labels if file.suffix.lower() == ".csv" else load_draws)(
                    file, table.classes
                ).named(train, table.root)
                for number in range(len(draws.supports)):
                    draws.rows(number, train, Path())  # checks pictures and their classes
                supports += draws.supports
            except UserError as error:
                where = f"chosen {choice.name}, {file}: "
                for line in str(error).splitlines():
                    plain = line.removeprefix("--draws").removeprefix("--labels")
                    plain = plain.removeprefix(f" {file}").lstrip(": ")
                    problems.append(where + plain)
        labels = sum(len(paths) for support in supports for paths in support.values())
        shot = max(1, round(labels / max(1, len(supports)) / len(table.classes)))
        made.append(Chosen(choice.name, shot, Draws(tuple(supports))))
    if problems:
        raise UserError("\n".join(problems))
    return made


def digest_of_draws(draws: Draws, queries: Sequence[Sequence[str]] | None) -> str:
    """SHA-256 of who is labelled and who is asked in every draw."""
    text = json.dumps([draws.supports, queries], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_name(name: str) -> str:
    """`name` as a file name: without separators and spaces, and still one of its own."""
    plain = re.sub(r"[^\w.+=-]+", "_", name).strip("._")[:80]
    if plain and plain == name:
        return plain
    return f"{plain}-{hashlib.sha256(name_bytes(name)).hexdigest()[:6]}"
