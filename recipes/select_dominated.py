"""Which pictures to label where one class dominates: strategies of `cvgssl select`, inside train/.

    cvgssl embed X-SDD --out X-SDD.npz
    cvgssl data synth PLANT --good-share 0.7 --defect-area 0.1 --parts 1200 --seed 1 --format png
    cvgssl embed PLANT --out PLANT.npz
    python recipes/select_dominated.py X-SDD.npz PLANT.npz --as-it-is PLANT --json out.json

Pools are those of `dominated_folds.py`: 60 % of train/, as it is and with one of the two largest
classes made to have 50, 70 and 90 % of it; of each pool a random 80 % (1500 pictures at most) in
each repetition. K, 2K and 4K pictures are chosen (K classes), at one go, and by `medoids` in rounds
too. Figures: classes found, and macro-recall of a head on the other pictures of train/, per cent (a
class that was not found counts 0). Test pictures are not opened.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from dominated_folds import SHARES, pools
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json
from cvgssl.selection.candidates import Candidates
from cvgssl.selection.strategies import STRATEGIES

SHOTS = (1, 2, 4)
ROUNDS = "medoids in rounds"
MOST = 1500  # pictures of a pool
Figures = dict[tuple[str, int], list[float]]  # classes found, then macro-recall by head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--as-it-is", nargs="*", default=[], help="names of files not thinned")
    parser.add_argument("--heads", nargs="+", default=["kernel-ridge"])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for file in args.features:
        train = load_features(file).split("train")
        for share in (0.0, *(() if file.stem in args.as_it_is else SHARES)):
            cells = defaultdict(list)
            for pool, query, seed in repetitions(train, share, args.repeat):
                for cell, figures in judged(pool, query, args.heads, seed).items():
                    cells[cell].append(figures)
            for (method, shot), values in cells.items():
                means = [round(float(value), 1) for value in np.mean(values, axis=0)]
                named = dict(zip(("found", *args.heads), means, strict=True))
                place = {"features": file.stem, "share": share, "shot": shot, "method": method}
                rows.append(place | {"cases": len(values)} | named)
                print(*rows[-1].values(), flush=True)
    show(rows, args.heads)
    if args.json:
        write_json(args.json, rows)


def repetitions(
    train: FeatureTable, share: float, repeat: int
) -> Iterator[tuple[FeatureTable, FeatureTable, int]]:
    """Pool, queries and seed of each."""
    for number, (table, pool, query) in enumerate(pools(train, share)):
        for seed in range(repeat):
            order = np.random.default_rng([number, seed]).permutation(pool)
            some = np.sort(order[: min(round(0.8 * len(pool)), MOST)])
            yield table.take(some), table.take(query), seed


def judged(pool: FeatureTable, query: FeatureTable, heads: list[str], seed: int) -> Figures:
    """Of every method and number of labels per class."""
    preparation = Preparation(blocks=pool.blocks).fit(pool.values)
    rows, queries = (preparation.transform(part.values) for part in (pool, query))
    classes, figures = len(pool.classes), {}
    with graph_cache():
        for method in (*STRATEGIES, ROUNDS):
            labels = np.full(len(pool), UNLABELLED)
            for shot in SHOTS:
                if method != ROUNDS:
                    labels[:] = UNLABELLED
                known = labels != UNLABELLED
                candidates = Candidates(rows.astype(np.float32), labels.copy(), known)
                strategy = STRATEGIES["medoids" if method == ROUNDS else method]
                order = strategy(candidates, shot * classes - int(known.sum()), seed).order
                labels[order] = pool.labels[order]
                found = len(np.unique(labels)) - 1
                recalls = (recall(name, rows, labels, queries, query) for name in heads)
                figures[method, shot] = [float(found), *recalls]
    return figures


def recall(
    head: str,
    rows: NDArray[np.float64],
    labels: NDArray[np.int64],
    queries: NDArray[np.float64],
    query: FeatureTable,
) -> float:
    """Macro-recall of a head on the queries; of a single class without a head."""
    classes = len(query.classes)
    if len(np.unique(labels)) < 3:
        return 100 / classes
    fitted = HEADS[head]().fit(rows, labels)
    return macro_recall(confusion(query.labels, fitted.predict(queries), classes))


def show(rows: list[dict[str, object]], heads: list[str]) -> None:
    """Means over all cells, and against the best other strategy of each cell."""
    cells = defaultdict(dict)
    for row in rows:
        cells[row["features"], row["share"], row["shot"]][row["method"]] = row
    others = [name for name in STRATEGIES if name != "medoids"]
    for name, slack in (("found", 0.3), *((head, 1.0) for head in heads)):
        print(f"\n{name}: mean; against the best other strategy: mean, worst, cells below -{slack}")
        for method in (*STRATEGIES, ROUNDS):
            values = [cell[method][name] for cell in cells.values()]
            best = [max(cell[other][name] for other in others) for cell in cells.values()]
            less = np.array(values) - np.array(best)
            print(
                f"{method:<18} {np.mean(values):5.1f}  {less.mean():+5.1f}  {less.min():+5.1f}  "
                f"{int((less < -slack - 1e-9).sum())} of {len(less)}"
            )


if __name__ == "__main__":
    main()
