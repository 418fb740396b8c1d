"""What labels bring that are chosen as the station does, by one list, or at random."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.heads import HEADS, CalibratedHead
from cvgssl.heads.metrics import confusion, macro_recall, mean_interval
from cvgssl.selection.candidates import Candidates, Surroundings
from cvgssl.selection.strategies import STRATEGIES, surroundings
from cvgssl.station.label_queue import ROUND

POOL, WRONG = 2000, 0.02
LABELS = (6, 12, 24, 48, 96)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def label_curves(table: FeatureTable, run: int) -> Iterator[dict[str, Any]]:
    """Figures of each way and number of labels."""
    rng = np.random.default_rng([run, 1])
    order, size = rng.permutation(len(table)), min(POOL, 2 * len(table) // 3)
    pool, query = table.take(np.sort(order[:size])), table.take(np.sort(order[size:]))
    preparation = Preparation(blocks=table.blocks).fit(pool.values)
    rows, queries = preparation.transform(pool.values), preparation.transform(query.values)
    told = oracle(pool.labels, len(table.classes), rng)
    around = surroundings(rows.astype(np.float32))
    with graph_cache():
        for way, order in (
            ("station", in_rounds(rows, told, around, LABELS[-1])),
            ("one list", at_one_go(rows, around, LABELS[-1])),
            ("random", rng.permutation(size)),
        ):
            for count in LABELS:  # a longer list begins as a shorter one
                picked = order[:count]
                labels = np.full(size, UNLABELLED)
                labels[picked] = told[picked]
                yield {"way": way, "labels": count} | judged(
                    rows, labels, queries, query.labels, pool.labels[picked], len(table.classes)
                )


def oracle(truth: Ints, classes: int, rng: np.random.Generator) -> Ints:
    """Labels of a person who is wrong about 2 % of the pictures."""
    other = (truth + rng.integers(1, classes, len(truth))) % classes
    return np.where(rng.random(len(truth)) < WRONG, other, truth)


def in_rounds(rows: Floats, told: Ints, around: Surroundings, count: int) -> NDArray[np.intp]:
    """As the station chooses: again after every sixth label."""
    labels = np.full(len(rows), UNLABELLED)
    order: list[int] = []
    while len(order) < count:
        codes = np.unique(labels[labels >= 0], return_inverse=True)[1]
        target = labels.copy()
        target[labels >= 0] = codes
        candidates = Candidates(rows.astype(np.float32), target, labels >= 0, around)
        more = STRATEGIES["medoids"](candidates, min(ROUND, count - len(order)), 0).order
        labels[more] = told[more]
        order += more.tolist()
    return np.array(order)


def at_one_go(rows: Floats, around: Surroundings, count: int) -> NDArray[np.intp]:
    """As `cvgssl select --budget`: a list to be filled in."""
    nothing = np.full(len(rows), UNLABELLED)
    candidates = Candidates(rows.astype(np.float32), nothing, nothing >= 0, around)
    return STRATEGIES["medoids"](candidates, count, 0).order


def judged(
    rows: Floats, labels: Ints, queries: Floats, truth: Ints, found: Ints, classes: int
) -> dict[str, float]:
    """Classes found (truly), accuracy and macro-recall on the queries."""
    head = CalibratedHead(HEADS["auto"]()).fit(rows, labels)
    counts = confusion(truth, head.predict(queries), classes)
    return {
        "found": float(len(np.unique(found))),
        "accuracy": 100 * float(np.trace(counts) / counts.sum()),
        "macro-recall": macro_recall(counts),
    }


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the runs and half widths of their 95 % intervals."""
    result = []
    keys = ("pictures", "way", "labels")
    for place in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        cell: dict[str, Any] = dict(zip(keys, place, strict=True))
        for name in ("found", "accuracy", "macro-recall"):
            values = [row[name] for row in rows if tuple(row[key] for key in keys) == place]
            interval = mean_interval(values)
            cell[name] = [round(interval.mean, 1), round(interval.ci95 or 0, 1)]
        result.append(cell)
    return result
