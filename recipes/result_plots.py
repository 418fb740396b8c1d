"""How the pictures of docs/results/ look: points with their intervals, axes, legends."""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cvgssl.heads.metrics import mean_interval
from cvgssl.runtime.files import writing

SETS = ("NEU-CLS", "X-SDD")
BLUE, ORANGE, GREEN, PURPLE, GRAY = "#0b5cad", "#c8501e", "#2e7d32", "#8e44ad", "#7f7f7f"
RECALL = "macro-recall on test/, %"
Points = dict[float, tuple[float, float]]  # x: mean and half width of the interval


def draw(*pictures: Callable[[Path], Figure]) -> None:
    """Write each picture under the name of its function, as the command line says."""
    parser = argparse.ArgumentParser(description="Draw pictures of docs/results/.")
    parser.add_argument("results", type=Path, help="folder with the JSON and CSV files")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for picture in pictures:
        figure = picture(args.results)
        FigureCanvasAgg(figure)
        with writing(args.out / f"{picture.__name__.replace('_', '-')}.png") as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


def table(path: Path, encoder: str | None = None) -> dict[tuple[str, str, str], Points]:
    """(data, setting, head) of a benchmark's CSV to macro-recall by labels per class.

    `encoder` is the name of one, if the file has several.
    """
    found: dict[tuple[str, str, str], Points] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if encoder not in (None, row["encoder"]):
                continue
            value = float(row["macro_recall_mean"]), float(row["macro_recall_ci95"])
            where = row["data"], row["setting"], row["head"]
            found.setdefault(where, {})[float(row["shot"])] = value
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    made = mean_interval(list(values))
    return made.mean, made.ci95 or 0.0


def side_by_side(height: float, sharey: bool = False, panels: int = 2) -> tuple[Figure, Any]:
    figure = Figure(figsize=(10, height), layout="constrained")
    return figure, figure.subplots(1, panels, sharey=sharey)


def curve(axes: Axes, points: Points, colour: str, marker: str, name: str, line: str = "-") -> None:
    at = sorted(points)
    mean = [points[x][0] for x in at]
    half = [points[x][1] for x in at]
    axes.errorbar(
        at,
        mean,
        yerr=half,
        color=colour,
        marker=marker,
        ms=5,
        lw=1.5,
        ls=line,
        capsize=2,
        label=name,
    )


def dots(
    axes: Axes,
    values: Sequence[tuple[float, float]],
    shift: float,
    colour: str,
    marker: str,
    name: str,
) -> None:
    axes.errorbar(
        [mean for mean, _ in values],
        [place + shift for place in range(len(values))],
        xerr=[half for _, half in values],
        color=colour,
        marker=marker,
        ms=5,
        lw=0,
        elinewidth=1.2,
        label=name,
    )


def shots(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16], labels=["1", "2", "4", "8", "16"])
    axes.minorticks_off()
    finish(axes, None, "labels per class")


def finish(axes: Axes, title: str | None, below: str) -> None:
    if title is not None:
        axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(below)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
