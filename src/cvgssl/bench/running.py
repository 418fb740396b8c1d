"""Computing cells: every draw of a head in its setting, many cells at a time.

Shape letters: N rows of train/, Q of test/ that are asked, D numbers each, K classes.
"""

import time
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cvgssl.adapt.draws import Draws
from cvgssl.bench.cells import Cell, CellResult, parameters, write_cell
from cvgssl.bench.source_rows import SourceRows
from cvgssl.bench.sources import LoadedSource
from cvgssl.features.feature_store import Rows
from cvgssl.features.mirrors import mirror_views
from cvgssl.features.preparation import Preparation
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.heads import ALL_HEADS, FewShotHead
from cvgssl.heads.auto_decision import AutoDecision
from cvgssl.heads.metrics import accuracy, confusion, macro_recall
from cvgssl.runtime.errors import UserError

LabelArray = NDArray[np.int64]
Timed = tuple[float, LabelArray]  # when fitting began, as of `time.perf_counter`; predicted classes


@dataclass(frozen=True)
class CellJob:
    """A cell with its draws. queries: names asked in each; None: all labelled test pictures."""

    cell: Cell
    draws: Draws
    queries: list[list[str]] | None


def run_all(
    cell_jobs: Sequence[CellJob], out: Path, jobs: int
) -> Generator[tuple[Cell, CellResult | str], None, None]:
    """Compute `cell_jobs` in `jobs` processes (0: one per core) and write each cell as it is done.

    Gives cell and result in the order they finish; in place of a result the words of the error
    that a head ended with, whose cell is then not written. Every process uses one thread. The
    processes end when this generator is closed or interrupted.
    Raises UserError when a process was killed.
    """
    processes = min(jobs or cpu_count(), max(len(cell_jobs), 1))
    pool = Parallel(n_jobs=processes, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    out = out.resolve()  # a process may have been started elsewhere
    try:
        yield from pool(delayed(_compute_and_write)(job, out) for job in cell_jobs)
    except BrokenProcessPool as error:
        raise UserError(
            "--jobs: a process was killed, perhaps for want of memory; what is done is kept, run "
            f"it again with --jobs {max(1, processes // 2)}"
        ) from error
    finally:
        _rows_of.cache_clear()  # with one process, that is this one; idle others end


def _compute_and_write(job: CellJob, out: Path) -> tuple[Cell, CellResult | str]:
    source = job.cell.source
    rows = _rows_of(_Source(source, (source.file, source.digest, source.mirrored_digest)))
    with threadpool_limits(1), rows.graphs:
        try:
            result = compute_cell(job, rows)
        except Exception as error:  # one head's trouble must not cost the others' hours
            return job.cell, f"{type(error).__name__}: {error}"
    write_cell(result, job.cell.path(out))
    return job.cell, result


@dataclass(frozen=True)
class _Source:
    """A source by what says that two are the same."""

    source: LoadedSource = field(compare=False)
    identity: tuple[Hashable, ...]


@lru_cache(maxsize=1)
def _rows_of(keyed: _Source) -> SourceRows:
    """Of one process, while it computes cells of one source, which follow each other."""
    return SourceRows(keyed.source)


def compute_cell(job: CellJob, rows: SourceRows | None = None) -> CellResult:
    """Fit and test the head on every draw of the cell; `rows`: of its source, if there already."""
    cell = job.cell
    rows = rows or SourceRows(cell.source)
    train, test = rows.train, rows.test
    names = {name: row for row, name in enumerate(train.names)}
    query_sets = _asked(test, job.queries)
    classes = len(test.classes)
    predict = PREDICT[cell.setting]
    seconds, matrices, decisions = [], [], []
    votes = np.zeros((len(test), classes), dtype=np.int64)
    for number, support in enumerate(job.draws.supports):
        labelled = np.array([names[name] for paths in support.values() for name in paths])
        queries = query_sets[number % len(query_sets)]
        head = cell.head()
        begun, predicted = predict(rows, cell.preparation, head, labelled, queries)
        seconds.append(time.perf_counter() - begun)
        decisions.append(getattr(head, "decision_", None))
        matrices.append(confusion(test.labels[queries], predicted, classes))
        votes[queries, predicted] += 1
    return CellResult(
        cell.key(),
        cell.source.data,
        cell.source.encoder,
        cell.label,
        cell.setting,
        cell.shot,
        cell.draws_digest,
        ALL_HEADS[cell.choice.head].uses_unlabelled,
        parameters(cell.choice),
        [accuracy(counts) for counts in matrices],
        [macro_recall(counts) for counts in matrices],
        seconds,
        list(test.classes),
        np.sum(matrices, axis=0).tolist(),
        _mistakes(test, votes),
        [decision for decision in decisions if isinstance(decision, AutoDecision)],
    )


def _inductive(
    rows: SourceRows, mode: PreparationMode, head: FewShotHead, support: Rows, queries: Rows
) -> Timed:
    """Only the labelled pictures are known; each test picture is classified independently."""
    train, test = rows.train, rows.test
    mirrored = None if rows.mirrored is None else rows.mirrored.take(support)
    begun = time.perf_counter()
    preparation = Preparation(mode, train.blocks).fit(train.values[support])
    views = mirror_views(preparation, mirrored, range(len(support)))
    head.fit(preparation.transform(train.values[support]), train.labels[support], views)
    return begun, head.predict(preparation.transform(test.values[queries]))


def _semi_supervised(
    rows: SourceRows, mode: PreparationMode, head: FewShotHead, support: Rows, queries: Rows
) -> Timed:
    """All of train/ is known without labels; each test picture is classified independently."""
    prepared = rows.prepared(mode)
    begun = time.perf_counter()
    head.fit(prepared.train, _only(rows.train.labels, support), prepared.views)
    return begun, head.predict(prepared.test[queries])


def _transductive(
    rows: SourceRows, mode: PreparationMode, head: FewShotHead, support: Rows, queries: Rows
) -> Timed:
    """All of train/ and the test pictures asked together are known without labels."""
    prepared = rows.prepared(mode)
    together = np.concatenate([prepared.train, prepared.test[queries]])
    target = np.concatenate([_only(rows.train.labels, support), np.full(len(queries), UNLABELLED)])
    begun = time.perf_counter()
    head.fit(together, target, prepared.views)
    if not head.uses_unlabelled:
        return begun, head.predict(prepared.test[queries])
    return begun, head.transduction_[len(prepared.train) :]


_Predict = Callable[[SourceRows, PreparationMode, FewShotHead, Rows, Rows], Timed]
PREDICT: dict[str, _Predict] = {
    "inductive": _inductive,
    "semi-supervised": _semi_supervised,
    "transductive": _transductive,
    "transductive-balanced": _transductive,
    "transductive-dirichlet": _transductive,
}


def _only(labels: LabelArray, support: Rows) -> LabelArray:
    """The labels of the support; all others are unknown."""
    target = np.full(len(labels), UNLABELLED, dtype=np.int64)
    target[support] = labels[support]
    return target


def _asked(test: FeatureTable, queries: list[list[str]] | None) -> list[Rows]:
    if queries is None:
        return [np.flatnonzero(test.labels != UNLABELLED)]
    rows = {name: row for row, name in enumerate(test.names)}
    return [np.array([rows[name] for name in names], dtype=np.intp) for names in queries]


def _mistakes(test: FeatureTable, votes: NDArray[np.int64]) -> dict[str, tuple[int, int, int, int]]:
    """By picture: true class, class it was most often mistaken for, how often, times asked."""
    times = votes.sum(axis=1)
    wrong = votes.copy()
    wrong[np.arange(len(test)), test.labels] = 0
    return {
        test.names[row]: (
            int(test.labels[row]),
            int(wrong[row].argmax()),
            int(wrong[row].max()),
            int(times[row]),
        )
        for row in np.flatnonzero(wrong.sum(axis=1))
    }
