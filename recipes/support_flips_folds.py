"""What mirror images of the labelled pictures are worth, by folds inside train/.

    cvgssl embed X-SDD --out X-SDD.npz --mirrored X-SDD.mirrored.npz
    python recipes/support_flips_folds.py X-SDD.npz NEU-CLS.npz GC10.npz --json out.json

Folds and dominated pools are those of dominated_folds.py. Figures are macro-recall on the queries,
per cent, mean over splits, dominating classes and draws, of heads without and with the three mirror
images of each labelled picture. Test pictures are not opened.
"""

import argparse
from pathlib import Path

import numpy as np
from dominated_folds import LEAST_OF_CLASS, Rows, drawn, load_train, pools, views_of

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable
from cvgssl.heads import HEADS
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json

COMPARED = ("nearest-mean", "logistic", "kernel-ridge", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.7, 0.9])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for file in args.features:
        table, mirrored = load_train(file)
        assert mirrored is not None, f"{file.with_suffix('.mirrored.npz')}: is needed"
        for share in args.shares:
            for shot in args.shots:
                cases = [
                    case
                    for _, pool, query in pools(
                        table, share, args.splits, max(LEAST_OF_CLASS, shot)
                    )
                    if np.bincount(table.labels[pool]).min() >= shot
                    for case in judged(table, mirrored, pool, query, shot, args.draws)
                ]
                if not cases:
                    continue
                means = np.mean(cases, axis=0).round(1).tolist()
                facts = {"features": file.stem, "share": share, "shot": shot, "cases": len(cases)}
                rows.append(
                    facts | {name: [*mean] for name, mean in zip(COMPARED, means, strict=True)}
                )
                print(*rows[-1].values(), flush=True)
    if args.json:
        write_json(args.json, rows)


def judged(
    table: FeatureTable, mirrored: FeatureTable, pool: Rows, query: Rows, shot: int, draws: int
) -> list[list[tuple[float, float]]]:
    """For each draw and head macro-recall without and with the mirror images."""
    labels, truth = table.labels[pool], table.labels[query]
    preparation = Preparation(blocks=table.blocks).fit(table.values[pool])
    known, asked = (preparation.transform(table.values[rows]) for rows in (pool, query))
    views = views_of(preparation, mirrored, pool)

    def recall(name: str, target: Rows, with_views: bool) -> float:
        head = HEADS[name]().fit(known, target, views if with_views else None)
        return macro_recall(confusion(truth, head.predict(asked), len(table.classes)))

    with graph_cache():
        targets = [drawn(labels, shot, draw) for draw in range(draws)]
        return [
            [(recall(name, target, False), recall(name, target, True)) for name in COMPARED]
            for target in targets
        ]


if __name__ == "__main__":
    main()
