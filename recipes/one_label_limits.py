"""What limits one label per class: which kind of a class the label happened to show.

    python recipes/one_label_limits.py X-SDD.npz

The train pictures of every class are divided in two by k-means on the features (all labels are used
here, for looking only). A draw's label is in one of the two kinds; columns: how many train
pictures and draws it is, recall of that class and macro-recall on test/ over those draws, by `auto`
semi-supervised, per cent. Features as for `bench_real.yaml`.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from cvgssl.adapt.draws import draw
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import load_features
from cvgssl.heads import HEADS
from cvgssl.heads.base import UNLABELLED, unit
from cvgssl.heads.metrics import confusion, recalls
from cvgssl.runtime.progress import progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    args = parser.parse_args()
    table = load_features(args.features)
    train, test, dataset = table.split("train"), table.split("test"), table.dataset()
    prepared = Preparation(blocks=train.blocks).fit(train.values)
    known, query = (prepared.transform(part.values) for part in (train, test))
    drawn = draw(dataset, 1, args.draws, seed=0)
    found, chosen = [], []
    with progress("draws", args.draws) as advance:
        for number in range(args.draws):
            rows = drawn.rows(number, dataset.train, dataset.root)
            target = np.full(len(train), UNLABELLED)
            target[rows] = train.labels[rows]
            predicted = HEADS["auto"]().fit(known, target).predict(query)
            counts = confusion(test.labels, predicted, len(table.classes))
            found.append(recalls(counts))
            chosen.append(rows[np.argsort(train.labels[rows])])
            advance(1)
    recall, labelled = np.array(found), np.array(chosen)
    whole = recall.mean(axis=1)
    lowest, highest = np.quantile(whole, [0.1, 0.9])
    print(f"macro-recall {whole.mean():.1f}, a tenth of the draws below {lowest:.1f}, "
          f"a tenth above {highest:.1f}\n")  # fmt: skip
    print("| class | kind | train pictures | draws | recall | macro-recall |")
    print("|---|---|---|---|---|---|")
    for label, name in enumerate(table.classes):
        rows = np.flatnonzero(train.labels == label)
        parts = KMeans(2, n_init=10, random_state=0).fit_predict(unit(known[rows]))
        kind = np.zeros(len(train), dtype=int)
        kind[rows] = parts
        order = np.argsort(-np.bincount(parts, minlength=2))  # the larger kind first
        for title, one in zip(("larger", "smaller"), order, strict=True):
            runs = kind[labelled[:, label]] == one
            print(f"| {name} | {title} | {(parts == one).sum()} | {runs.sum()} | "
                  f"{recall[runs, label].mean():.1f} | {whole[runs].mean():.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()
