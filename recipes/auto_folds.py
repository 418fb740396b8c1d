"""How `auto` weighs its candidates: rules compared by folds inside train/.

    cvgssl embed NEU-CLS --encoder VIT_TINY --pooling cls+mean --layers 6 9 12 --out NEU-CLS.npz
    python recipes/auto_folds.py NEU-CLS.npz X-SDD.npz GENERATED.npz [--transductive] --draws 8

Four folds, each a quarter of every class in the order of the numbers in file names, so that near
twins stay on one side. The rest is labelled with 2 to 16 per class or unlabelled; with
--transductive the fold's pictures are among the unlabelled ones. Every candidate is fitted once;
then rules combine what they said. Figures: macro-recall on the fold, per cent, mean over folds
and draws; below, each rule's mean over all cells minus that of the first, its worst and best cell.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from folds import places
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.auto import stacking_weights
from cvgssl.heads.base import UNLABELLED, Floats
from cvgssl.heads.calibration import (
    fit_temperature,
    held_out_predictions,
    log_likelihoods,
    scale_temperature,
)
from cvgssl.heads.metrics import confusion, macro_recall

CANDIDATES = ("kernel-ridge", "diffusion", "transport", "propagation")
SHOTS = (2, 4, 8, 16)
PRIOR = np.array([0.2, 0.4, 0.4, 0.0])

Weigh = Callable[[Floats, Floats], Floats]


def softmax_of_likelihood(likely: Floats, prior: Floats) -> Floats:
    scores = np.log(likely).sum(axis=1) + np.log(prior.clip(1e-9))
    weights: Floats = np.exp(scores - scores.max())
    return weights / weights.sum()


def weighed(weigh: Weigh, power: int = 0, prior: Floats = PRIOR) -> Callable[[Floats, int], Floats]:
    """A rule whose prior of transport is divided by the `power` of the labels per class."""

    def rule(likely: Floats, shot: int) -> Floats:
        lowered = prior / [1, 1, shot**power, 1]
        return weigh(likely, lowered / lowered.sum())

    return rule


RULES: dict[str, Callable[[Floats, int], Floats]] = {
    "softmax of log-likelihood": weighed(softmax_of_likelihood),
    "stacking": weighed(stacking_weights),
    "stacking, transport / labels": weighed(stacking_weights, 1),
    "stacking, transport / labels^2": weighed(stacking_weights, 2),
    "stacking, with propagation": weighed(stacking_weights, 0, np.array([0.15, 0.3, 0.3, 0.25])),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--transductive", action="store_true")
    parser.add_argument("--draws", type=int, default=8)
    args = parser.parse_args()
    cells: dict[str, list[float]] = {name: [] for name in (*CANDIDATES, *RULES)}
    for file in args.features:
        train = load_features(file).split("train")
        found = [
            (case[0], judge(*case, args.transductive))
            for case in cases(train, args.transductive, args.draws)
        ]
        print(f"{file.stem}: {', '.join(map(str, SHOTS))} labels per class")
        for name, values in cells.items():
            means = [
                float(np.mean([figures[name] for shot, figures in found if shot == one]))
                for one in SHOTS
            ]
            values += means
            print(f"  {name:<32} {'  '.join(f'{mean:5.1f}' for mean in means)}")
    first = np.array(cells[next(iter(RULES))])
    for name, values in cells.items():
        gain = np.array(values) - first
        print(f"{name:<34} {gain.mean():+.2f}  worst {gain.min():+.2f}  best {gain.max():+.2f}")


Case = tuple[int, Floats, NDArray[np.int64], Floats, NDArray[np.int64]]


def cases(
    table: FeatureTable, transductive: bool, draws: int, shots: tuple[int, ...] = SHOTS
) -> Iterator[Case]:
    """Shot, rows and target to fit to, rows to be judged by and their truth, for all draws."""
    labels = table.labels
    place = places(table)
    for fold in range(4):
        held = (place >= fold / 4) & (place < (fold + 1) / 4)
        prepared = Preparation(blocks=table.blocks).fit(table.values[~held])
        known, query = (prepared.transform(table.values[part]) for part in (~held, held))
        pool = np.concatenate([known, query]) if transductive else known
        for draw in range(draws):
            order = np.random.default_rng((fold, draw)).permutation(len(known))
            for shot in shots:
                target = np.full(len(pool), UNLABELLED)
                for label in range(len(table.classes)):
                    target[order[labels[~held][order] == label][:shot]] = label
                yield shot, pool, target, query, labels[held]


def judge(
    shot: int,
    pool: Floats,
    target: NDArray[np.int64],
    query: Floats,
    truth: NDArray[np.int64],
    transductive: bool,
) -> dict[str, float]:
    """Macro-recall of every candidate and rule."""
    likely, predicted = [], []
    for name in CANDIDATES:
        held_out, rows = held_out_predictions(HEADS[name](), pool, target)
        temperature = fit_temperature(held_out, target[rows])
        scaled = scale_temperature(held_out, temperature)
        likely.append(np.exp(log_likelihoods(scaled, target[rows])))
        head = clone(HEADS[name]()).fit(pool, target)
        rows_predicted = head.predict_proba(query)
        if transductive and head.uses_unlabelled:
            rows_predicted = head.label_distributions_[-len(query) :]
        predicted.append(scale_temperature(rows_predicted, temperature))
    answers = dict(zip(CANDIDATES, predicted, strict=True))
    for name, rule in RULES.items():
        answers[name] = np.tensordot(rule(np.array(likely), shot), np.array(predicted), axes=1)
    classes = int(truth.max()) + 1
    return {
        name: macro_recall(confusion(truth, values.argmax(axis=1), classes))
        for name, values in answers.items()
    }


if __name__ == "__main__":
    main()
