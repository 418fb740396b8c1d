"""What pre-training without labels is worth, as a picture: docs/results/pretraining.png.

    python recipes/draw_pretrain.py docs/results/pretrain_real.json docs/results/pretraining.png

A row per method, a panel per data set: macro-recall of nearest class mean on test/ at 1 and 4
labels, mean of the draws and 95 % interval. Runs that repeat a method share its row. The lines are
the teacher's own features.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pretrain_names import NAMES, method

from cvgssl.heads.metrics import MeanInterval, mean_interval
from cvgssl.runtime.files import writing

SETS = ("NEU-CLS", "X-SDD")
STYLE = {"1": ("#0b5cad", "o"), "4": ("#c8501e", "s")}  # colour and marker by labels per class
LEFT_OUT = ("teacher", "spectral-14-epochs", "spectral-20-epochs", "paper")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    rows = ordered(results)
    figure = Figure(figsize=(11, 0.27 * len(rows) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(SETS), sharey=True)
    for axes, data in zip(panels, SETS, strict=True):
        panel(axes, data, results, rows)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    FigureCanvasAgg(figure)
    with writing(args.out) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


def panel(axes: Axes, data: str, results: dict[str, Any], rows: list[str]) -> None:
    for shot, (colour, marker) in STYLE.items():
        axes.axvline(score(results[f"{data}_teacher"], shot).mean, color=colour, lw=1, ls="--")
        for name, result in results.items():
            if result["data"] != data or method(name)[0] not in rows:
                continue
            found = score(result, shot)
            axes.errorbar(
                found.mean,
                rows.index(method(name)[0]) + (0.12 if shot == "4" else -0.12),
                xerr=found.ci95,
                color=colour,
                marker=marker,
                ms=4.5,
                lw=1,
                label=f"{shot} label{'s' if shot != '1' else ''}; dashed: the teacher"
                if name == f"{data}_random"
                else None,
            )
    axes.set_yticks(
        range(len(rows)), [NAMES.get(row, row).replace("`", "") for row in rows], fontsize=9
    )
    axes.set_xlim(15, 100)
    axes.set_xlabel("macro-recall on test/, %, nearest class mean", fontsize=9)
    axes.set_title(f"{data}, inductive", fontsize=11, loc="left")
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def ordered(results: dict[str, Any]) -> list[str]:
    """Methods from the lowest to the highest figure at one label, mean over sets and runs."""
    found: dict[str, list[float]] = {}
    for name, result in results.items():
        if method(name)[0] not in LEFT_OUT:
            found.setdefault(method(name)[0], []).append(score(result, "1").mean)
    return sorted(found, key=lambda name: sum(found[name]) / len(found[name]))


def score(result: dict[str, Any], shot: str) -> MeanInterval:
    return mean_interval(result["macro_recall"]["nearest class mean"][shot])


if __name__ == "__main__":
    main()
