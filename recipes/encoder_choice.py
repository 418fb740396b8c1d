"""Which of two encoders: the one that names held-out labels better, or both side by side?

    cvgssl embed X-SDD --out lite0.npz
    cvgssl embed X-SDD --encoder vit_tiny_patch16_224=vit.safetensors --out vit.npz
    python recipes/encoder_choice.py lite0.npz vit.npz --json out.json

Folds and dominated pools are those of dominated_folds.py. Figures are macro-recall of `auto` on
the queries, per cent, mean over folds, dominating classes and draws: with either encoder, with both
side by side at half the weight each, and with that of these three whose held-out labels are
likeliest (`chosen`; with one label per class none can be held out, then side by side). The last
column is `chosen` where its held-out labels must be e^4 times as likely as side by side. Test
pictures are not opened.
"""

import argparse
from pathlib import Path

import numpy as np
from dominated_folds import Rows, pools
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import UNLABELLED, Floats
from cvgssl.heads.calibration import held_out_predictions, log_likelihoods, scale_temperature
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.files import write_json

COLUMNS = ("first", "second", "side by side", "chosen", "chosen, if much likelier")
MARGIN = 4.0  # in log-likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs=2)
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.7])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    first, second = (load_features(file).split("train") for file in args.features)
    place = {name: row for row, name in enumerate(second.names)}
    second = second.take(np.array([place[name] for name in first.names]))
    rows = []
    for share in args.shares:
        figures: dict[int, list[list[float]]] = {shot: [] for shot in args.shots}
        for _, pool, query in pools(first, share):
            values = prepared(first, second, pool, query)
            with graph_cache():
                for shot in args.shots:
                    if np.bincount(first.labels[pool]).min() >= shot:
                        figures[shot] += [
                            judged(values, first.labels[pool], first.labels[query], shot, draw)
                            for draw in range(args.draws)
                        ]
        for shot, cases in figures.items():
            if cases:
                means = [round(float(mean), 1) for mean in np.mean(cases, axis=0)]
                names = [file.stem for file in args.features]
                facts = {"features": names, "share": share, "shot": shot, "cases": len(cases)}
                rows.append(facts | dict(zip(COLUMNS, means, strict=True)))
                print(*rows[-1].values(), flush=True)
    if args.json:
        write_json(args.json, rows)


def prepared(
    first: FeatureTable, second: FeatureTable, pool: Rows, query: Rows
) -> list[tuple[Floats, Floats]]:
    """Rows of the pool and of the queries by either encoder, and by both."""
    alone = []
    for table in (first, second):
        preparation = Preparation(blocks=table.blocks).fit(table.values[pool])
        alone.append([preparation.transform(table.values[rows]) for rows in (pool, query)])
    both = [np.concatenate(parts, axis=1) / np.sqrt(2) for parts in zip(*alone, strict=True)]
    return [(known, unknown) for known, unknown in (*alone, both)]


def judged(
    values: list[tuple[Floats, Floats]],
    labels: NDArray[np.int64],
    truth: NDArray[np.int64],
    shot: int,
    draw: int,
) -> list[float]:
    """Macro-recall in the order of COLUMNS, for one draw of `shot` labels per class."""
    order, target = np.random.default_rng(draw).permutation(len(labels)), labels.copy()
    target[:] = UNLABELLED
    for label in range(int(labels.max()) + 1):
        target[order[labels[order] == label][:shot]] = label
    recalls, likelihoods = [], []
    for known, unknown in values:
        head = AutoHead().fit(known, target)
        table = confusion(truth, head.predict(unknown), int(labels.max()) + 1)
        recalls.append(macro_recall(table))
        likelihoods.append(held_out_likelihood(head, known, target))
    best = int(np.argmax(likelihoods)) if shot > 1 else 2
    clear = likelihoods[best] - likelihoods[2] > MARGIN
    return [*recalls, recalls[best], recalls[best if clear else 2]]


def held_out_likelihood(head: AutoHead, known: Floats, target: NDArray[np.int64]) -> float:
    """Logarithm of the probability that the head's mean gives to labels held out in turn."""
    mixed, rows = 0.0, np.zeros(0, dtype=np.intp)
    for weight, temperature, candidate in zip(
        head.weights_, head.temperatures_, head.heads_, strict=True
    ):
        predictions, rows = held_out_predictions(candidate, known, target)
        mixed = mixed + weight * scale_temperature(predictions, temperature)
    scaled = scale_temperature(np.asarray(mixed), head.temperature_)
    return float(log_likelihoods(scaled, target[rows]).sum())


if __name__ == "__main__":
    main()
