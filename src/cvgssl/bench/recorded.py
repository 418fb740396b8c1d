"""The draws of a benchmark, written down once for each data set and shared by all methods."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cvgssl.bench.config import BenchConfig, ChosenLabels
from cvgssl.bench.queries import BALANCED, DIRICHLET, balanced, dirichlet
from cvgssl.features.table import FeatureTable
from cvgssl.fewshot.draws import Draws, draw, load_draws, load_labels, save_draws
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json

DRAWS = "draws"


@dataclass(frozen=True)
class Recorded:
    """The draws of one data set.

    supports: labelled pictures by shot. skipped: why a shot that was asked for is not there.
    queries: names of the test pictures of each run, by setting; a setting that is not there asks
        all of them.
    """

    supports: dict[int, Draws]
    skipped: dict[int, str]
    queries: dict[str, list[list[str]]]


@dataclass(frozen=True)
class Chosen:
    """Labelled pictures that somebody chose; `shot`: how many per class, on the average."""

    name: str
    shot: int
    supports: Draws


def record(table: FeatureTable, data: str, config: BenchConfig) -> Recorded:
    """Draw for every shot and setting, and write the draws to `out/draws/DATA/`."""
    supports, skipped = supports_of(table, config.shots, config.num_draws, config.seed)
    test = table.part("test")
    queries = dict[str, list[list[str]]]()
    if BALANCED in config.settings:
        queries[BALANCED] = balanced(test, config.num_draws, config.seed)
    if DIRICHLET in config.settings:
        queries[DIRICHLET] = dirichlet(
            test, config.num_draws, config.seed, config.alpha, config.queries_per_class
        )
    folder = config.out / DRAWS / file_name(data)
    for shot, draws in supports.items():
        save_draws(draws, folder / f"shot_{shot}.json")
    for setting, runs in queries.items():
        write_json(folder / f"queries_{setting}.json", {"seed": config.seed, "runs": runs})
    return Recorded(supports, skipped, queries)


def supports_of(
    table: FeatureTable, shots: Sequence[int], runs: int, seed: int
) -> tuple[dict[int, Draws], dict[int, str]]:
    """The very draws of `fewshot.draws.draw`, and a reason for each shot that cannot be drawn."""
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
    largest = draw(dataset, max(usable), runs, seed)
    # a support is contained in the larger ones, so one drawing serves all
    supports = {
        shot: Draws(
            tuple({name: paths[:shot] for name, paths in run.items()} for run in largest.runs),
            shot,
            largest.imbalance,
            seed,
        )
        for shot in usable
    }
    return supports, skipped


def chosen_supports(table: FeatureTable, chosen: Sequence[ChosenLabels]) -> list[Chosen]:
    """The lists, each with the number of labels per class that it comes nearest to.

    Raises UserError, one line per problem, for pictures or classes that are not in train.
    """
    train = table.dataset().train
    found, problems = [], []
    for one in chosen:
        runs = list[dict[str, tuple[str, ...]]]()
        for file in one.files:
            try:
                draws = (load_labels if file.suffix.lower() == ".csv" else load_draws)(
                    file, table.classes
                )
                for run in range(len(draws.runs)):
                    draws.rows(run, train, Path())  # checks pictures and their classes
                runs += draws.runs
            except UserError as error:
                where = f"chosen {one.name}, {file}: "
                for line in str(error).splitlines():
                    plain = line.removeprefix("--draws").removeprefix(f" {file}").lstrip(": ")
                    problems.append(where + plain)
        labels = sum(len(paths) for run in runs for paths in run.values())
        shot = max(1, round(labels / max(1, len(runs)) / len(table.classes)))
        found.append(Chosen(one.name, shot, Draws(tuple(runs))))
    if problems:
        raise UserError("\n".join(problems))
    return found


def digest_of(supports: Draws, queries: Sequence[Sequence[str]] | None) -> str:
    """SHA-256 of who is labelled and who is asked in every run."""
    text = json.dumps([supports.runs, queries], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_name(name: str) -> str:
    """`name` as a file name: without separators and spaces, and still one of its own."""
    plain = re.sub(r"[^\w.+=-]+", "_", name).strip("._")[:80]
    if plain and plain == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
