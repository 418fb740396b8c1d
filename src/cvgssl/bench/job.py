"""The benchmark from options to tables: load, draw, compute what is missing, summarise."""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cvgssl.bench.cells import Cell, CellResult, read_cell, write_cell
from cvgssl.bench.config import BenchConfig
from cvgssl.bench.embedding import all_features
from cvgssl.bench.recorded import Chosen, Recorded, digest_of_draws, read_chosen, record
from cvgssl.bench.running import CellJob, run_all
from cvgssl.bench.sources import LoadedSource, load_sources, read_table
from cvgssl.bench.statistics import ResultRow, summarize
from cvgssl.bench.tables import Table, draws_to_csv, tables_of, to_csv, to_latex, to_markdown
from cvgssl.bench.texts import with_texts
from cvgssl.bench.tuning import Tuning, plan_tunings
from cvgssl.heads import TEXT_HEADS
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_text
from cvgssl.runtime.lock import locked_folder
from cvgssl.runtime.options import CONFIG, to_yaml
from cvgssl.runtime.progress import progress

TABLES = "tables"


@dataclass(frozen=True)
class Bench:
    """A finished benchmark.

    computed, reused: cells computed now, and cells that were in the folder already.
    skipped: a line for each shot or head that was skipped, and for each cell that failed.
    failed: how many of these lines are errors.
    """

    config: BenchConfig
    sources: list[LoadedSource]
    results: list[CellResult]
    rows: list[ResultRow]
    tables: list[Table]
    baseline: str
    computed: int
    reused: int
    skipped: list[str]
    failed: int
    seconds: float
    hardware: str

    def notes(self) -> list[str]:
        """What a reader of the tables must know."""
        config = self.config
        tuned = [
            f"{choice.name}: fine-tuning, over the first {config.num_finetune_draws} of these "
            "draws only; its differences are over these."
            for choice in config.finetune
        ]
        return [
            f"{config.num_draws} draws of labelled pictures from train/, seed {config.seed}, the "
            "same for all heads and encoders (files in draws/); figures are means over the draws, "
            "± is the half width of the 95 % t-interval over the draws: how much the choice of "
            "labelled pictures matters, not how another plant's pictures would fare.",
            f"Features: {config.preparation}, learned from unlabelled train pictures (inductive: "
            "from the labelled ones alone), then length 1. No test picture chose anything.",
            *self._mirrored(),
            f"Heads with their default parameters unless the label says otherwise; {self.hardware}"
            ", one thread for each cell.",
            *tuned,
            *self._texts(),
            *self.skipped,
        ]

    def _mirrored(self) -> list[str]:
        of = [source for source in self.sources if source.mirrored is not None]
        if not of:
            return []
        only = ""
        if len(of) < len(self.sources):
            only = f" (of {', '.join(f'{each.data} by {each.encoder}' for each in of)})"
        return [
            "Heads that learn from labels alone, and auto's kernel-ridge, also see mirror images "
            f"of the labelled pictures{only}."
        ]

    def _texts(self) -> list[str]:
        files = {
            source.facts["texts"]["file"] for source in self.sources if source.anchors is not None
        }
        heads = [choice.label for choice in self.config.choices() if choice.head in TEXT_HEADS]
        if not files:
            return []
        return [
            f"{', '.join(heads)}: know what the classes are called, by the text tower of "
            f"{', '.join(sorted(files))}, and see features that are not centred; zero-shot uses no "
            "label either, so that draws do not change it."
        ]


def run_bench(config: BenchConfig) -> Bench:
    """Compute the cells that are missing in `config.out`, and write the tables there.

    Raises UserError before a cell is computed when features do not fit or no shot can be drawn,
    and when another process is at work in `config.out`.
    """
    with locked_folder(config.out, "--out"):
        return _run(config)


def _run(config: BenchConfig) -> Bench:
    started = time.monotonic()
    entries = all_features(config)
    sources, textless = with_texts(config, entries, load_sources(entries))
    _check_names(config, sources)
    cell_jobs, recorded, skipped = _plan(config, sources)
    skipped += textless
    tunings = plan_tunings(config, sources, recorded)
    if not cell_jobs:
        raise UserError("\n".join(skipped))
    write_text(config.out / CONFIG, to_yaml(config))
    done: dict[Path, CellResult] = {}
    missing = []
    for cell_job in cell_jobs:
        path = cell_job.cell.path(config.out)
        result = read_cell(path, cell_job.cell.key())
        if result is None:
            missing.append(cell_job)
        else:
            done[path] = result
    reused = len(done)
    errors = []
    with (
        progress("cells", len(missing)) as advance,
        closing(run_all(missing, config.out, config.jobs)) as finished,
    ):
        for cell, result_or_error in finished:
            if isinstance(result_or_error, str):
                errors.append(_failure(cell, result_or_error))
            else:
                done[cell.path(config.out)] = result_or_error
            advance(1, f"{cell.choice.label}, {cell.setting}")
    paths = [cell_job.cell.path(config.out) for cell_job in cell_jobs]
    results = [done[path] for path in paths if path in done]
    results += _tuned(config, tunings)
    rows = summarize(results, config.baseline_label())
    bench = Bench(
        config,
        sources,
        results,
        rows,
        tables_of(rows),
        config.baseline_label(),
        len(done) - reused,
        reused,
        skipped + sorted(errors),
        len(errors),
        time.monotonic() - started,
        hardware(),
    )
    _write_tables(bench)
    return bench


def _tuned(config: BenchConfig, tunings: list[Tuning]) -> list[CellResult]:
    """The fine-tuning cells, one after another: each takes all cores or the GPU."""
    results = []
    for tuning in tunings:
        path = tuning.path(config.out)
        result = read_cell(path, tuning.key())
        if result is None:
            result = tuning.run(config.out)
            write_cell(result, path)
        results.append(result)
    return results


def _plan(
    config: BenchConfig, sources: list[LoadedSource]
) -> tuple[list[CellJob], dict[str, Recorded], list[str]]:
    """All heads' cells, the draws by data set, and a line for each shot that cannot be drawn."""
    cell_jobs, skipped = [], []
    recorded = dict[str, Recorded]()
    chosen = dict[str, list[Chosen]]()
    for source in sources:
        if source.data not in recorded:
            table = read_table(source.file)
            lists = [listed for listed in config.chosen if listed.data in (source.data, "")]
            chosen[source.data] = read_chosen(table, lists)
            recorded[source.data] = record(table, source.data, config)
            for shot, reason in recorded[source.data].skipped.items():
                skipped.append(f"{source.data}: shot {shot} left out: {reason}")
        of_data = recorded[source.data]
        # cells that share a graph follow each other, so that a process can use it again
        for setting in config.settings:
            queries = of_data.queries.get(setting)
            digests = {
                shot: digest_of_draws(draws, queries) for shot, draws in of_data.draws.items()
            }
            for choice in config.choices():
                texts = choice.head in TEXT_HEADS
                if texts and source.anchors is None:
                    continue
                prepared = "none" if texts else config.preparation
                for shot, draws in of_data.draws.items():
                    cell = Cell(source, choice, setting, shot, prepared, digests[shot])
                    cell_jobs.append(CellJob(cell, draws, queries))
                for picked in chosen[source.data]:
                    digest = digest_of_draws(picked.draws, queries)
                    cell = Cell(source, choice, setting, picked.shot, prepared, digest, picked.name)
                    cell_jobs.append(CellJob(cell, picked.draws, queries))
    return cell_jobs, recorded, skipped


def _check_names(config: BenchConfig, sources: list[LoadedSource]) -> None:
    names = list(dict.fromkeys(source.data for source in sources))
    strange = [listed for listed in config.chosen if listed.data not in names]
    if strange and not (len(names) == 1 and all(listed.data == "" for listed in strange)):
        raise UserError(
            "\n".join(
                f"chosen {listed.name}: data: {listed.data or 'is missing'}; there are "
                f"{', '.join(names)}"
                for listed in strange
            )
        )


def _failure(cell: Cell, error: str) -> str:
    return (
        f"{cell.source.data}, {cell.source.encoder}, {cell.setting}: {cell.choice.label} at "
        f"{cell.shot} shot failed and is in no table: {' '.join(error.split())}"
    )


def _write_tables(bench: Bench) -> None:
    folder: Path = bench.config.out / TABLES
    write_text(folder / "results.md", to_markdown(bench.tables, bench.baseline, bench.notes()))
    write_text(folder / "results.tex", to_latex(bench.tables, bench.baseline))
    write_text(folder / "results.csv", to_csv(bench.rows))
    write_text(folder / "draws.csv", draws_to_csv(bench.results))
