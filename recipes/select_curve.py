"""What chosen labels are worth: strategies of `cvgssl select` against random choice.

    cvgssl embed NEU-CLS --encoder vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors \
        --pooling cls+mean --layers 6 9 12 --precision fp32 --out NEU-CLS.npz   (and X-SDD)
    python recipes/select_curve.py NEU-CLS.npz X-SDD.npz --heads nearest-mean diffusion auto \
        --json select.json --figure select.png
    python recipes/select_curve.py GENERATED.npz ... --on train         (how settings are chosen)
    python recipes/select_curve.py --heads auto --json docs/results/selection.json --figure F

In each of 10 repetitions the pool is another 80 % of train/. From it K, 2K, 4K, 8K and 16K pictures
are chosen (K classes), then labelled. Figures: classes found, and macro-recall, per cent, of heads
on all of test/, or (--on train) on train/; a class that was not found counts 0. `medoids in rounds`
labels K pictures first, then asks again up to each number, with the labels so far. `equal shots` is
the usual draw of the same number for every class, which only those can make who know all labels.
The head nearest-mean is inductive, the head diffusion semi-supervised: it sees the pool, too.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from result_plots import BLUE, GRAY, GREEN, ORANGE, PURPLE, finish, legend

from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.metrics import confusion, macro_recall, mean_interval
from cvgssl.runtime.files import write_json, writing
from cvgssl.runtime.progress import progress
from cvgssl.runtime.seeds import seed_for
from cvgssl.selection.candidates import Candidates
from cvgssl.selection.strategies import STRATEGIES

SHOTS = (1, 2, 4, 8, 16)
SHARE = 0.8
ROUNDS, EQUAL = "medoids in rounds", "equal shots"
METHODS = (*STRATEGIES, ROUNDS, EQUAL)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GRAY, "#00a3c4", "black")
FOUND = "classes found"

Labels = NDArray[np.int64]
Rows = NDArray[np.intp]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="*")
    parser.add_argument("--on", choices=["train", "test"], default="test")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--heads", nargs="+", default=["nearest-mean", "diffusion"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    results = {}
    for file in args.features:
        table = load_features(file)
        with progress(file.stem, args.repeat * len(METHODS)) as advance:
            values = [repetition(table, args, seed, advance) for seed in range(args.repeat)]
        results[file.stem] = summary(values)
    if args.json and not args.features:
        results = json.loads(args.json.read_text(encoding="utf-8"))["results"]
        results = {
            data: {n: v for n, v in one.items() if n in (FOUND, *args.heads)}
            for data, one in results.items()
        }
    elif args.json:
        facts = {"on": args.on, "repeat": args.repeat, "pool": SHARE}
        write_json(args.json, facts | {"results": results})
    for data, result in results.items():
        show(data, result)
    if args.figure:
        draw(results, args.figure)


def repetition(
    table: FeatureTable, args: argparse.Namespace, seed: int, advance: Callable[[int], None]
) -> dict[str, dict[str, dict[str, float]]]:
    """Figure -> method -> number of labels -> value, for one pool."""
    train, asked = table.split("train"), table.split(args.on)
    generator = np.random.default_rng(seed_for(seed, "pool"))
    size = round(SHARE * len(train))
    pool = train.take(np.sort(generator.permutation(len(train))[:size]))
    preparation = Preparation(blocks=pool.blocks).fit(pool.values)
    rows, query = (preparation.transform(part.values) for part in (pool, asked))
    classes = len(table.classes)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method in METHODS:
        for shot in SHOTS:
            chosen = choose(method, rows.astype(np.float32), pool.labels, shot * classes, seed)
            target = np.full(len(pool), -1)
            target[chosen] = pool.labels[chosen]
            figures = {FOUND: float(len(np.unique(pool.labels[chosen])))}
            for name in args.heads:
                head = HEADS[name]().fit(rows, target)
                counts = confusion(asked.labels, head.predict(query), classes)
                figures[name] = macro_recall(counts)
            for name, value in figures.items():
                found.setdefault(name, {}).setdefault(method, {})[str(shot * classes)] = value
        advance(1)
    return found


def choose(method: str, rows: NDArray[np.float32], truth: Labels, budget: int, seed: int) -> Rows:
    """Rows of the pool that `method` has labelled."""
    if method == EQUAL:
        return equal_shots(truth, budget, seed)
    labels, classes = np.full(len(rows), -1), len(np.unique(truth))
    if method != ROUNDS:
        return STRATEGIES[method](Candidates(rows, labels, labels >= 0), budget, seed).order
    chosen = np.array([], dtype=np.intp)
    for total in (shot * classes for shot in SHOTS if shot * classes <= budget):
        pool = Candidates(rows, labels.copy(), labels >= 0)
        chosen = np.concatenate(
            [chosen, STRATEGIES["medoids"](pool, total - len(chosen), seed).order]
        )
        labels[chosen] = truth[chosen]
    return chosen


def equal_shots(truth: Labels, budget: int, seed: int) -> Rows:
    """As many of each class as there are, at most; classes that run out have fewer."""
    generator = np.random.default_rng(seed_for(seed, EQUAL))
    shuffled = generator.permutation(len(truth))
    shot = budget // len(np.unique(truth))
    return np.concatenate([shuffled[truth[shuffled] == label][:shot] for label in np.unique(truth)])


def summary(values: list[dict[str, Any]]) -> dict[str, Any]:
    """Figure -> method -> number -> mean, half width of the 95 % interval, and all values."""
    made: dict[str, Any] = {}
    for name, methods in values[0].items():
        for method, numbers in methods.items():
            for number in numbers:
                every = [one[name][method][number] for one in values]
                kept = mean_interval(every)
                made.setdefault(name, {}).setdefault(method, {})[number] = {
                    "mean": kept.mean,
                    "ci95": kept.ci95,
                    "values": every,
                }
    return made


def show(data: str, result: dict[str, Any]) -> None:
    for name, methods in result.items():
        numbers = list(next(iter(methods.values())))
        what = f"{name}, of {numbers[0]}" if name == FOUND else f"macro-recall of `{name}`"
        print(
            f"\n**{data}, {what}**\n\n| strategy | {' | '.join(f'{n} labels' for n in numbers)} |"
        )
        print("|---" * (len(numbers) + 1) + "|")
        for method, values in methods.items():
            shown = (f"{v['mean']:.1f} ± {v['ci95'] or 0:.1f}" for v in values.values())
            print(f"| {method} | {' | '.join(shown)} |", flush=True)


def draw(results: dict[str, Any], path: Path) -> None:
    """One row of curves for each data set: classes found and each head, 95 % intervals as bands."""
    columns = len(next(iter(results.values())))
    figure = Figure(figsize=(5 * columns, 3 * len(results) + 0.7), layout="constrained")
    panels = figure.subplots(len(results), columns, squeeze=False)
    for line, (data, result) in zip(panels, results.items(), strict=True):
        for axes, (name, methods) in zip(line, result.items(), strict=True):
            for (method, values), colour in zip(methods.items(), COLOURS, strict=True):
                at = [int(number) for number in values]
                mean = np.array([value["mean"] for value in values.values()])
                half = np.array([value["ci95"] or 0 for value in values.values()])
                dashes = ":" if method == EQUAL else "--" if method == ROUNDS else "-"
                axes.plot(at, mean, dashes, color=colour, marker="o", ms=3, lw=1.5, label=method)
                axes.fill_between(at, mean - half, mean + half, color=colour, alpha=0.1, lw=0)
            axes.set_xscale("log", base=2)
            axes.set_xticks(at, labels=map(str, at))
            axes.minorticks_off()
            axes.set_ylabel(name if name == FOUND else f"macro-recall of {name}, %")
            finish(axes, data, "labels")
    legend(figure, panels[0, 0], 4)
    FigureCanvasAgg(figure)
    with writing(path) as aside:
        figure.savefig(aside, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
