"""Computing cells: every draw of a head in its setting, many cells at a time.

Shape letters: N rows of train/, Q of test/ that are asked, D numbers each, K classes.
"""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cvgssl.adapt.draws import Draws
from cvgssl.bench.cells import Cell, CellResult, parameters, write_cell
from cvgssl.bench.sources import read_splits
from cvgssl.features.feature_store import Rows
from cvgssl.features.graph_cache import GraphCache
from cvgssl.features.mirrors import SupportViews, mirror_views
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
        _graphs.cache_clear()  # with one process, that is this one


def _compute_and_write(job: CellJob, out: Path) -> tuple[Cell, CellResult | str]:
    with threadpool_limits(1), _graphs(job.cell.source.digest):
        try:
            result = compute_cell(job)
        except Exception as error:  # one head's trouble must not cost the others' hours
            return job.cell, f"{type(error).__name__}: {error}"
    write_cell(result, job.cell.path(out))
    return job.cell, result


@lru_cache(maxsize=1)
def _graphs(_source: str) -> GraphCache:
    """Of one process, while it computes cells of one source: all have the same train rows."""
    return GraphCache()


def compute_cell(job: CellJob) -> CellResult:
    """Fit and test the head on every draw of the cell."""
    cell = job.cell
    train, test = read_splits(cell.source.file)
    names = {name: row for row, name in enumerate(train.names)}
    query_sets = _asked(test, job.queries)
    classes = len(test.classes)
    predict = PREDICT[cell.setting]
    seconds, matrices, decisions = [], [], []
    votes = np.zeros((len(test), classes), dtype=np.int64)
    for number, support in enumerate(job.draws.supports):
        rows = np.array([names[name] for paths in support.values() for name in paths])
        queries = query_sets[number % len(query_sets)]
        head = cell.head()
        begun, predicted = predict(cell, head, rows, queries)
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


def _inductive(cell: Cell, head: FewShotHead, support: Rows, queries: Rows) -> Timed:
    """Only the labelled pictures are known; each test picture is classified independently."""
    train, test = read_splits(cell.source.file)
    mirrored = _mirrored(cell.source.mirrored)
    mirrored = None if mirrored is None else mirrored.take(support)
    begun = time.perf_counter()
    preparation = Preparation(cell.preparation, train.blocks).fit(train.values[support])
    views = mirror_views(preparation, mirrored, range(len(support)))
    head.fit(preparation.transform(train.values[support]), train.labels[support], views)
    return begun, head.predict(preparation.transform(test.values[queries]))


def _semi_supervised(cell: Cell, head: FewShotHead, support: Rows, queries: Rows) -> Timed:
    """All of train/ is known without labels; each test picture is classified independently."""
    rows = _prepared(cell)
    begun = time.perf_counter()
    head.fit(rows.train, _only(rows.labels, support), rows.views)
    return begun, head.predict(rows.test[queries])


def _transductive(cell: Cell, head: FewShotHead, support: Rows, queries: Rows) -> Timed:
    """All of train/ and the test pictures asked together are known without labels."""
    rows = _prepared(cell)
    together = np.concatenate([rows.train, rows.test[queries]])
    target = np.concatenate([_only(rows.labels, support), np.full(len(queries), UNLABELLED)])
    begun = time.perf_counter()
    head.fit(together, target, rows.views)
    if not head.uses_unlabelled:
        return begun, head.predict(rows.test[queries])
    return begun, head.transduction_[len(rows.train) :]


PREDICT: dict[str, Callable[[Cell, FewShotHead, Rows, Rows], Timed]] = {
    "inductive": _inductive,
    "semi-supervised": _semi_supervised,
    "transductive": _transductive,
    "transductive-balanced": _transductive,
    "transductive-dirichlet": _transductive,
}


@dataclass(frozen=True)
class _Prepared:
    """Rows prepared by the train rows only: train [N, D], test; train labels [N]; views of train.

    They are the same and in the same order for every draw, so that what depends only on them, such
    as a graph of neighbours, comes from the cache.
    """

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    labels: LabelArray
    views: SupportViews | None


def _prepared(cell: Cell) -> _Prepared:
    source = cell.source
    digests = (source.digest, source.mirrored_digest)
    return _prepare(source.file, source.mirrored, digests, cell.preparation)


@lru_cache(maxsize=4)
def _prepare(
    file: Path, mirrored: Path | None, _digests: tuple[str, str], mode: PreparationMode
) -> _Prepared:
    train, test = read_splits(file)
    preparation = Preparation(mode, train.blocks).fit(train.values)
    views = mirror_views(preparation, _mirrored(mirrored), range(len(train)))
    return _Prepared(
        preparation.transform(train.values),
        preparation.transform(test.values),
        train.labels,
        views,
    )


def _mirrored(file: Path | None) -> FeatureTable | None:
    """What the train pictures look like in mirrors, in their order."""
    return None if file is None else read_splits(file)[0]


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
