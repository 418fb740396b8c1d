"""What each preparation of embeddings is worth, by folds inside train/ and where a class dominates.

    cvgssl embed X-SDD --out X-SDD.npz
    python recipes/preparation_folds.py X-SDD.npz NEU-CLS.npz GC10.npz --draws 3 --json out.json

Folds and dominated pools are those of dominated_folds.py. Figures are macro-recall on the queries,
per cent, of `logistic` and `auto`, mean over folds, dominating classes and draws. Everything is
learned from the pool. Test pictures are not opened.
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from dominated_folds import Rows, pools

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.base import UNLABELLED
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json

HEADS_COMPARED = ("logistic", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument(
        "--modes", nargs="+", choices=get_args(PreparationMode), default=get_args(PreparationMode)
    )
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.7, 0.9])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for file in args.features:
        table = load_features(file).split("train")
        for share in args.shares:
            for mode in args.modes:
                for shot in args.shots:
                    figures = [
                        judged(table, pool, query, mode, shot, draw)
                        for _, pool, query in pools(table, share)
                        if np.bincount(table.labels[pool]).min() >= shot
                        for draw in range(args.draws)
                    ]
                    if not figures:
                        continue
                    means = [round(float(mean), 1) for mean in np.mean(figures, axis=0)]
                    facts = {"features": file.stem, "share": share, "mode": mode, "shot": shot}
                    rows.append(facts | dict(zip(HEADS_COMPARED, means, strict=True)))
                    print(*rows[-1].values(), flush=True)
    if args.json:
        write_json(args.json, rows)


def judged(
    table: FeatureTable, pool: Rows, query: Rows, mode: PreparationMode, shot: int, draw: int
) -> list[float]:
    """Macro-recall of the heads in one draw, the same for all modes."""
    labels, truth = table.labels[pool], table.labels[query]
    order = np.random.default_rng(draw).permutation(len(pool))
    target = np.full(len(pool), UNLABELLED)
    for label in range(len(table.classes)):
        target[order[labels[order] == label][:shot]] = label
    preparation = Preparation(mode, table.blocks).fit(table.values[pool])
    known, asked = (preparation.transform(table.values[rows]) for rows in (pool, query))
    with graph_cache():
        answers = [HEADS[name]().fit(known, target).predict_proba(asked) for name in HEADS_COMPARED]
    return [
        macro_recall(confusion(truth, answer.argmax(axis=1), len(table.classes)))
        for answer in answers
    ]


if __name__ == "__main__":
    main()
