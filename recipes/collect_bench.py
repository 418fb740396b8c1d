"""Cells of a benchmark to one Markdown table per setting and one JSON file.

    python recipes/collect_bench.py OUT --baseline ROW --json docs/results/finetune_semi.json
    python recipes/collect_bench.py --baseline ROW --json docs/results/finetune_semi.json  (tables)

Figures are macro-recall in per cent, mean over the draws and half width of the 95 % interval;
behind them the difference to the baseline on the same draws, where both have as many.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.bench.tuning import RUNS
from cvgssl.heads.metrics import mean_interval
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.runtime.run import SUMMARY

KEPT = (
    "data",
    "encoder",
    "head",
    "setting",
    "shot",
    "params",
    "accuracy",
    "macro_recall",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", help="folder of the benchmark")
    parser.add_argument("--baseline", default="", help="row that others are compared with")
    parser.add_argument("--json", type=Path, help="write the cells here")
    args = parser.parse_args()
    if args.out:
        found = sorted(args.out.glob("cells/*/*/*/*/shot_*.json"))
        cells = [read(path, args.out) for path in found]
    else:
        cells = json.loads(args.json.read_text(encoding="utf-8"))["cells"]
    columns = sorted({(cell["data"], cell["shot"]) for cell in cells})
    base = {(c["data"], c["shot"]): c["macro_recall"] for c in cells if c["head"] == args.baseline}
    for setting in sorted({cell["setting"] for cell in cells}):
        print(f"\n**{setting}**\n")
        heads = [f"{data}, {shot} label{'s' * (shot > 1)}" for data, shot in columns]
        print(f"| method | {' | '.join(heads)} |\n|{'---|' * (1 + len(columns))}")
        rows = {(c["head"], c["data"], c["shot"]): c for c in cells if c["setting"] == setting}
        for head in dict.fromkeys(head for head, _, _ in rows):
            row = [shown(rows.get((head, *column)), base.get(column)) for column in columns]
            print(f"| {head} | {' | '.join(row)} |")
    if args.json and args.out:
        write_json(args.json, {"hardware": hardware(), "cells": cells})


def read(path: Path, out: Path) -> dict[str, Any]:
    """What a cell says, and of pseudo-labels how many there were and how many were right."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    cell = {name: whole[name] for name in KEPT}
    for summary in out.glob(f"{RUNS}/*_{whole['key'][:8]}/{SUMMARY}"):
        run = json.loads(summary.read_text(encoding="utf-8"))
        cell |= {name: run[name] for name in ("mode", "pseudo_labels", "pseudo_right", "hardware")}
    return cell


def shown(cell: dict[str, Any] | None, base: list[float] | None) -> str:
    """Mean, interval, paired difference and its interval."""
    if cell is None:
        return ""
    values = cell["macro_recall"]
    mean = mean_interval(values)
    text = f"{mean.mean:.1f} ± {mean.ci95:.1f}"
    if base is None or len(base) != len(values) or base == values:
        return text
    difference = mean_interval(np.subtract(values, base).tolist())
    return f"{text} ({difference.mean:+.1f} ± {difference.ci95:.1f})"


if __name__ == "__main__":
    main()
