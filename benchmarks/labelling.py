"""Seconds from a label to what follows from it, on a pool of embedded pictures.

    cvgssl data synth PLANT --good-share 0.9 --defect-area 0.1 --parts 10000 --format png
    cvgssl embed PLANT --out plant.npz
    python -m benchmarks.labelling plant.npz --labels 200 --json out.json

The labels of the table answer what is asked, a label every --pause seconds as a person would.
Printed: seconds of reading and preparing the table, until the first picture is asked for, and until
the map is there, each without and with what an earlier run kept; then median, 95 % quantile and
maximum of: `label` (which writes to the disk), from a label to the state that includes it, `ask`.
With --heads: how often heads with the same labels name the other pictures right, and their seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable, load_features
from cvgssl.heads import HEADS
from cvgssl.heads.metrics import confusion, macro_recall
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import Labels

WHO = "oracle"
NO_HASH = "0" * 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("features", type=Path)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.5)
    parser.add_argument("--heads", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        facts = {f"{name}, first": value for name, value in opened(args.features, place).items()}
        facts |= opened(args.features, place)
        times, labelled = given(args.features, place, args.labels, args.pause)
    facts |= times
    facts |= {f"head {name}": told(args.features, labelled, name) for name in args.heads}
    facts |= {"features": args.features.name, "labels": len(labelled), "hardware": hardware()}
    for name, value in facts.items():
        print(f"{name:<28} {value}")
    if args.json:
        write_json(args.json, facts)


def opened(features: Path, folder: Path) -> dict[str, Any]:
    """Seconds until the pool is read, asks, and has its map."""
    begun = time.monotonic()
    labels = Labels(folder / "opened.sqlite")
    with Labelling(load_features(features), labels, folder / "kept") as labelling:
        seconds = {"read": time.monotonic() - begun}
        for name, ready in (
            ("asks", lambda: labelling.ask(WHO)),
            ("map", lambda: labelling.points()),
        ):
            until(ready)
            seconds[name] = time.monotonic() - begun
    labels.close()
    return {name: round(value, 2) for name, value in seconds.items()}


def given(
    features: Path, folder: Path, count: int, pause: float
) -> tuple[dict[str, Any], dict[str, str]]:
    """Quantiles of the seconds, and the labels."""
    table = load_features(features)
    truth = truth_of(table)
    labels = Labels(folder / "labelled.sqlite")
    seconds: dict[str, list[float]] = {"label": [], "refit": [], "ask": []}
    with Labelling(table, labels, folder / "kept") as labelling:
        until(lambda: labelling.ask(WHO))
        for _ in range(count):
            begun = time.monotonic()
            asked = until(lambda: labelling.ask(WHO))
            seconds["ask"].append(time.monotonic() - begun)
            time.sleep(pause)
            begun = time.monotonic()
            label = labelling.label(asked.picture, NO_HASH, truth[asked.picture], WHO, None, None)
            seconds["label"].append(time.monotonic() - begun)
            state = labelling.wait(label.number, 600)
            assert state.after >= label.number, "the refit takes more than ten minutes"
            seconds["refit"].append(time.monotonic() - begun)
        assert state.problem is None, state.problem
    given = {each.picture: each.label for each in labels.all()[0]}
    return {name: quantiles(values) for name, values in seconds.items()}, given


def told(features: Path, labelled: dict[str, str], name: str) -> dict[str, float]:
    """Accuracy and macro-recall, per cent, on the pictures without a label; processor seconds.

    The graph and the map are there already, as in a program that keeps them.
    """
    table = load_features(features).split("train")
    rows = Preparation(blocks=table.blocks).fit_transform(table.values)
    target = np.full(len(table), UNLABELLED)
    for row, picture in enumerate(table.names):
        if picture in labelled:
            target[row] = table.labels[row]
    others = target == UNLABELLED
    with graph_cache():
        HEADS[name]().fit(rows, target)
        begun = time.process_time()
        head = HEADS[name]().fit(rows, target)
        predicted = head.predict(rows[others])
        seconds = time.process_time() - begun
    counts = confusion(table.labels[others], predicted, len(table.classes))
    return {
        "accuracy": round(float(np.trace(counts) / counts.sum() * 100), 1),
        "macro-recall": round(macro_recall(counts), 1),
        "seconds": round(seconds, 2),
    }


def truth_of(table: FeatureTable) -> dict[str, str]:
    """Class of each picture by its name."""
    return {name: table.classes[row] for name, row in zip(table.names, table.labels, strict=True)}


def until(ready: Callable[[], Any]) -> Any:
    """What is there at last."""
    while (value := ready()) is None:
        time.sleep(0.01)
    return value


def quantiles(values: list[float]) -> dict[str, float]:
    """Of seconds."""
    names = {"median": 0.5, "p95": 0.95, "most": 1.0}
    return {name: round(float(np.quantile(values, at)), 3) for name, at in names.items()}


if __name__ == "__main__":
    main()
