"""What `auto` is worth where one class dominates the unlabelled pictures, by folds inside train/.

    cvgssl embed X-SDD --out X-SDD.npz
    python recipes/dominated_folds.py X-SDD.npz NEU-CLS.npz GC10.npz --draws 5 --json out.json

Two folds: 60 % of every class in the order of the numbers in file names are the pool, the rest are
queries; near twins stay on one side. Then, for each of the two largest classes, the other classes
of the pool are thinned (at least 5 pictures of each are left) until that class has 50, 70 and 90 %
of it. Figures are macro-recall on the queries, per cent, mean over classes, folds and draws.
`whole prior` is what `auto` would answer with one label per class if it trusted diffusion and
transport as it does where they agree. ECE is `auto`'s expected calibration error, per cent, on
queries drawn with the shares of the classes that the pool has. Test pictures are not opened.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from folds import places
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.base import UNLABELLED, Floats
from cvgssl.heads.calibration import calibration_error
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json

SHARES, LEAST = (0.5, 0.7, 0.9), 5
NATURAL = 2000  # queries that are drawn with the shares of the pool
COLUMNS = ("logistic", "diffusion", "transport", "whole prior", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'':<28}{'  '.join(COLUMNS)}  agreement  ECE")
    for file in args.features:
        for share in (0.0, *SHARES):
            for shot in args.shots:
                figures = [
                    figures
                    for table, pool, query in pools(load_features(file).part("train"), share)
                    for figures in judged(table, pool, query, shot, args.draws)
                ]
                if not figures:
                    continue
                means = [round(float(value), 1) for value in np.nanmean(figures, axis=0)]
                name = f"{file.stem}, {f'{share:.0%}' if share else 'as it is'}, {shot}"
                texts = (
                    f"{value:>{len(column)}.1f}"
                    for column, value in zip(COLUMNS, means, strict=False)
                )
                print(
                    f"{name:<28}{'  '.join(texts)}  {means[-2]:.0f} %  {means[-1]:.0f}", flush=True
                )
                keys = (*COLUMNS, "agreement", "ECE")
                rows.append(
                    {"features": file.stem, "share": share, "shot": shot, "cases": len(figures)}
                    | dict(zip(keys, means, strict=True))
                )
    if args.json:
        write_json(args.json, rows)


Rows = NDArray[np.intp]


def pools(table: FeatureTable, share: float) -> Iterator[tuple[FeatureTable, Rows, Rows]]:
    """Rows of the pool and of the queries, for both folds and classes that dominate."""
    place, counts = places(table), np.bincount(table.labels)
    for fold in (0, 1):
        inside = (place + fold / 2) % 1 < 0.6
        pool, query = np.flatnonzero(inside), np.flatnonzero(~inside)
        for label in np.argsort(-counts, kind="stable")[:2] if share else (None,):
            yield table, thinned(pool, table.labels, label, share), query


def thinned(pool: Rows, labels: NDArray[np.int64], label: int | None, share: float) -> Rows:
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
        kept.append(rows[: max(LEAST, round(len(rows) * factor))])
    return np.sort(np.concatenate(kept))


def judged(
    table: FeatureTable, pool: Rows, query: Rows, shot: int, draws: int
) -> Iterator[list[float]]:
    """Of each draw figures in the order of COLUMNS, then the agreement and the ECE, per cent.

    The agreement is NaN where auto kept to the labels.
    """
    labels, truth = table.labels[pool], table.labels[query]
    if min(np.bincount(labels, minlength=len(table.classes))) < shot:
        return
    shares = np.bincount(labels, minlength=len(table.classes)) / np.bincount(truth)
    chance = shares[truth] / shares[truth].sum()
    mixed = np.random.default_rng(2).choice(len(truth), NATURAL, p=chance)
    preparation = Preparation(parts=table.parts).fit(table.values[pool])
    known, unknown = (preparation.transform(table.values[rows]) for rows in (pool, query))
    with graph_cache():
        for draw in range(draws):
            order = np.random.default_rng(draw).permutation(len(pool))
            target = np.full(len(pool), UNLABELLED)
            for label in range(len(table.classes)):
                target[order[labels[order] == label][:shot]] = label
            answers: dict[str, Floats] = {}
            for name in ("logistic", "kernel-ridge", "diffusion", "transport", "auto"):
                head = HEADS[name]().fit(known, target)
                answers[name] = head.predict_proba(unknown)
            three = zip((0.2, 0.4, 0.4), ("kernel-ridge", "diffusion", "transport"), strict=True)
            answers["whole prior"] = np.sum([w * answers[name] for w, name in three], axis=0)
            scores = [
                macro_recall(confusion(truth, answers[name].argmax(axis=1), len(table.classes)))
                for name in COLUMNS
            ]
            error = calibration_error(answers["auto"][mixed], truth[mixed])
            yield [*scores, 100 * float(head.decision_.agreement or "nan"), 100 * error]


if __name__ == "__main__":
    main()
