"""Curves of a benchmark table: macro-recall against labelled pictures, with confidence bands."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from cvgssl.bench.tables import Table
from cvgssl.report.fonts import drawable, families_for
from cvgssl.runtime.files import writing

MARKERS = "os^vDPX*<>p"
COLORS = (
    "#0b5cad", "#c8501e", "#1a7f37", "#7b3fa0", "#b8860b", "#c2185b", "#00838f", "#5d4037",
    "#5c6bc0", "#7f7f7f",
)  # fmt: skip


def curves_figure(table: Table, stem: Path) -> list[Path]:
    """Draw `stem`.png and .svg: a line per head over the shots, bands the 95 % interval.

    Heads that look at unlabelled pictures are solid lines, those on the labels alone dashed. With
    a single shot each head is a point with its interval. Gives the two files.
    """
    heads = _ordered(table)
    families, missing = families_for([*heads, table.title])
    names = {head: drawable(table.name_of(head), missing) for head in heads}
    figure = Figure(figsize=(9.5, max(4.4, 0.23 * len(heads) + 1.2)), layout="constrained")
    axes = figure.add_subplot()
    if len(table.shots) > 1:
        for head in heads:
            _line(axes, table, head, names[head], table.heads.index(head))
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(list(table.shots)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(list(map(str, table.shots)))
        axes.set_xlabel("labelled pictures per class")
        axes.set_ylabel("macro-recall on test, %")
        figure.legend(
            loc="outside right upper", frameon=False, prop={"family": families, "size": 9}
        )
    else:
        _points(axes, table, heads, names, families)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(drawable(table.title, missing), fontsize=11, fontfamily=families, loc="left")
    return save_both(figure, stem)


def save_both(figure: Figure, stem: Path, dpi: int = 110) -> list[Path]:
    """Write the figure as PNG and as SVG, letters as outlines; the same figure, the same bytes."""
    png, svg = (stem.with_name(stem.name + ending) for ending in (".png", ".svg"))
    with writing(png) as aside:
        FigureCanvasAgg(figure).print_figure(str(aside), format="png", dpi=dpi)
    with writing(svg) as aside, mpl.rc_context({"svg.hashsalt": "cvgssl"}):
        FigureCanvasSVG(figure).print_figure(str(aside), format="svg", metadata={"Date": None})
    return [png, svg]


def _ordered(table: Table) -> list[str]:
    """Best at the largest shot first, so that the legend is in the order of the lines' ends."""

    def last(head: str) -> float:
        known = [table.cells[head, shot] for shot in table.shots if (head, shot) in table.cells]
        return known[-1].macro_recall.mean

    return sorted(table.heads, key=last, reverse=True)


def _line(axes: Axes, table: Table, head: str, name: str, number: int) -> None:
    rows = [table.cells[head, shot] for shot in table.shots if (head, shot) in table.cells]
    shots = [row.shot for row in rows]
    mean, half = _figures(rows)
    style: dict[str, Any] = {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": "-" if rows[0].uses_unlabelled else "--",
    }
    axes.plot(shots, mean, lw=1.6, ms=4.5, label=name, **style)
    axes.fill_between(shots, mean - half, mean + half, color=style["color"], alpha=0.08, lw=0)


def _points(
    axes: Axes, table: Table, heads: list[str], names: dict[str, str], families: list[str]
) -> None:
    rows = [table.cells[head, table.shots[0]] for head in heads]
    mean, half = _figures(rows)
    places = np.arange(len(heads))[::-1]
    axes.errorbar(mean, places, xerr=half, fmt="o", color=COLORS[0], capsize=3)
    axes.set_yticks(places, [names[head] for head in heads], fontfamily=families)
    axes.set_xlabel(f"macro-recall on test, %, {table.shots[0]} labelled pictures per class")


def _figures(rows: list[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and half widths of the intervals (0 with a single draw)."""
    mean = np.array([row.macro_recall.mean for row in rows])
    return mean, np.array([row.macro_recall.ci95 or 0.0 for row in rows])
