"""What `auto` is worth where one class dominates the unlabelled pictures, by folds inside train/.

    cvgssl embed X-SDD --out X-SDD.npz --mirrored X-SDD.mirrored.npz
    python recipes/dominated_folds.py X-SDD.npz NEU-CLS.npz GC10.npz --draws 2 --json out.json

Splits: 60 % of every class in the order of the numbers in file names are the pool, the rest are
queries; near twins stay on one side. Then, for each of the two largest classes, the other classes
of the pool are thinned (at least 5 pictures of each are left, or as many as there are labels) until
that class would have 50, 70 and 90 % of it. It has less where so few pictures of the others cannot
be left: `largest` is what the largest class has, per cent, mean over the pools. Where
FILE.mirrored.npz is beside FILE.npz, heads that learn from labels alone see mirror images of the
labelled pictures, as in `cvgssl fit`.

Figures are per cent, mean over splits, dominating classes and draws. First macro-recall on the
queries; then the agreement by which `auto` decides; then of what `fit` makes of `auto`, on queries
drawn with the shares of the classes that the pool has: expected calibration error, share of the
pictures that are answered surely enough ("not sure" else), and share of wrong ones among these.
Test pictures are not opened.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from folds import places
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.mirrors import SupportViews, mirror_views
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import HEADS, OpenSetHead
from cvgssl.heads.base import Floats
from cvgssl.heads.calibration import calibration_error
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json

SHARES, LEAST_OF_CLASS = (0.5, 0.7, 0.9), 5
NATURAL = 2000  # queries that are drawn with the shares of the pool
COLUMNS = ("logistic", "kernel-ridge", "diffusion", "transport", "auto")
NATURALLY = ("agreement", "ECE", "answered", "wrong")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'':<28}{'  '.join((*COLUMNS, *NATURALLY))}")
    for file in args.features:
        table, mirrored = load_train(file)
        for share in (0.0, *SHARES):
            for shot in args.shots:
                figures, largest = [], []
                for _, pool, query in pools(table, share, args.splits, max(LEAST_OF_CLASS, shot)):
                    largest.append(100 * np.bincount(table.labels[pool]).max() / len(pool))
                    figures += judged(table, mirrored, pool, query, shot, args.draws)
                if not figures:
                    continue
                with warnings.catch_warnings(action="ignore"):  # of columns that are all NaN
                    means = [round(float(value), 1) for value in np.nanmean(figures, axis=0)]
                cell = dict(zip((*COLUMNS, *NATURALLY), means, strict=True))
                name = f"{file.stem}, {f'{share:.0%}' if share else 'as it is'}, {shot}"
                texts = (f"{value:>{len(column)}.1f}" for column, value in cell.items())
                print(f"{name:<28}{'  '.join(texts)}", flush=True)
                facts = {"features": file.stem, "share": share, "shot": shot, "cases": len(figures)}
                facts["largest"] = round(float(np.mean(largest)), 1)
                known = {name: None if np.isnan(value) else value for name, value in cell.items()}
                rows.append(facts | known)  # JSON has no NaN
    if args.json:
        write_json(args.json, rows)


Rows = NDArray[np.intp]


def load_train(file: Path) -> tuple[FeatureTable, FeatureTable | None]:
    """The train pictures of a features file, and their mirror images where these are beside it."""
    beside = file.with_suffix(".mirrored.npz")
    train = load_features(file).split("train")
    if not beside.exists():
        return train, None
    mirrored = load_features(beside)
    place = {name: row for row, name in enumerate(mirrored.names)}
    return train, mirrored.take(np.array([place[name] for name in train.names]))


def pools(
    table: FeatureTable, share: float, splits: int = 2, least: int = LEAST_OF_CLASS
) -> Iterator[tuple[FeatureTable, Rows, Rows]]:
    """Rows of the pool and of the queries, for all splits and classes that dominate."""
    place, counts = places(table), np.bincount(table.labels)
    for split in range(splits):
        inside = (place + split / splits) % 1 < 0.6
        pool, query = np.flatnonzero(inside), np.flatnonzero(~inside)
        for label in np.argsort(-counts, kind="stable")[:2] if share else (None,):
            yield table, thinned(pool, table.labels, label, share, least), query


def thinned(
    pool: Rows,
    labels: NDArray[np.int64],
    label: int | None,
    share: float,
    least: int = LEAST_OF_CLASS,
) -> Rows:
    """The pool with so many pictures of the other classes that `label` has `share` of it."""
    if label is None:
        return pool
    generator = np.random.default_rng(1)
    own = generator.permutation(pool[labels[pool] == label])
    others = pool[labels[pool] != label]
    factor = min(1.0, len(own) * (1 - share) / share / len(others))
    own = own[: max(1, int(factor and len(others) * factor * share / (1 - share)))]
    kept = [own]
    for other in np.unique(labels[others]):
        rows = generator.permutation(others[labels[others] == other])
        kept.append(rows[: max(least, round(len(rows) * factor))])
    return np.sort(np.concatenate(kept))


def views_of(
    preparation: Preparation, mirrored: FeatureTable | None, pool: Rows
) -> SupportViews | None:
    """Mirror images of the pictures of a pool."""
    of_pool = None if mirrored is None else mirrored.take(pool)
    return mirror_views(preparation, of_pool, range(len(pool)))


def drawn(labels: NDArray[np.int64], shot: int, draw: int) -> NDArray[np.int64]:
    """The labels [N] of `shot` pictures of each class of a pool; all others -1."""
    order, target = np.random.default_rng(draw).permutation(len(labels)), np.full_like(labels, -1)
    for label in np.unique(labels):
        target[order[labels[order] == label][:shot]] = label
    return target


def judged(
    table: FeatureTable,
    mirrored: FeatureTable | None,
    pool: Rows,
    query: Rows,
    shot: int,
    draws: int,
) -> Iterator[list[float]]:
    """Of each draw figures in the order of COLUMNS and NATURALLY.

    The agreement is NaN where auto kept to the labels; the share of wrong answers where there are
    none.
    """
    labels, truth = table.labels[pool], table.labels[query]
    classes = len(table.classes)
    if min(np.bincount(labels, minlength=classes)) < shot:
        return
    shares = np.bincount(labels, minlength=classes) / np.bincount(truth)
    chance = shares[truth] / shares[truth].sum()
    mixed = np.random.default_rng(2).choice(len(truth), NATURAL, p=chance)
    preparation = Preparation(blocks=table.blocks).fit(table.values[pool])
    known, unknown = (preparation.transform(table.values[rows]) for rows in (pool, query))
    views = views_of(preparation, mirrored, pool)
    with graph_cache():
        for draw in range(draws):
            target = drawn(labels, shot, draw)
            answers: dict[str, Floats] = {}
            for name in COLUMNS:
                head = HEADS[name]().fit(known, target, views)
                answers[name] = head.predict_proba(unknown)
            scores = [
                macro_recall(confusion(truth, answers[name].argmax(axis=1), classes))
                for name in COLUMNS
            ]
            agreement = 100 * float(head.decision_.agreement or "nan")
            fitted = OpenSetHead().fit(known, target, views)
            yield [*scores, agreement, *naturally(fitted, unknown[mixed], truth[mixed])]


def naturally(head: OpenSetHead, rows: Floats, truth: NDArray[np.int64]) -> list[float]:
    """ECE, share of rows that are named surely enough, share of wrong ones among these."""
    probabilities = head.predict_proba(rows)
    sure = probabilities.max(axis=1) >= head.probability_threshold_
    wrong = head.classes_[probabilities.argmax(axis=1)] != truth
    share = wrong[sure].mean() if sure.any() else np.nan
    return [100 * calibration_error(probabilities, truth), 100 * sure.mean(), 100 * share]


if __name__ == "__main__":
    main()
