"""Figures of a run as PNG files: confusion matrix and learning curves.

Only `Figure` objects are used, never pyplot: no global state, no display, safe in any thread.
"""

import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cvgssl.report.fonts import drawable, escaped, families_for
from cvgssl.runtime.files import writing

TRAIN, TEST, EMA = "#7f7f7f", "#0b5cad", "#c8501e"


def confusion_figure(
    counts: NDArray[np.integer[Any]], classes: Sequence[str], path: Path, title: str
) -> None:
    """Draw a confusion matrix, in percent of each true class, to the PNG file `path`.

    counts: [C, C] pictures, rows = true class, columns = predicted class; may be summed over draws.
    Cells hold the percentage, and the count below it up to 15 classes. A class name that no
    installed font can write becomes `class 3`, and a warning says which names those are.
    """
    number = len(classes)
    assert counts.shape == (number, number)
    families, missing = families_for([*classes, title])
    lines = 2 if number <= 15 else 1
    names = [_shorten(name, lines, missing) for name in _writable(classes, missing, path)]
    totals = counts.sum(axis=1, keepdims=True)
    percent = 100 * counts / np.maximum(totals, 1)

    cell = 0.85 if number <= 10 else 0.6 if number <= 15 else 0.36  # inches
    side = min(cell * number, 22.0)
    longest = max(len(line) for name in names for line in name.splitlines())
    margin = 1.0 + 0.085 * longest
    figure = Figure(
        figsize=(side + margin + 1.4, side + margin + 0.3),
        layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1),
    )
    axes = figure.add_subplot()
    picture = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    # as lines of one collection: as grids of minor ticks they took longer than all the rest
    edges = np.arange(number + 1) - 0.5
    across = [[(-0.5, edge), (number - 0.5, edge)] for edge in edges]
    down = [[(edge, -0.5), (edge, number - 0.5)] for edge in edges]
    grid = LineCollection(across + down, colors="0.88", linewidths=0.8)
    axes.add_collection(grid, autolim=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

    font: dict[str, Any] = {"fontfamily": families}
    counted = [f"{name} ({total})" for name, total in zip(names, totals[:, 0], strict=True)]
    axes.set_yticks(range(number), labels=counted, **font)
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    upright: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "top"}
    axes.set_xticks(range(number), labels=names, **font, **(slanted if lines == 2 else upright))
    axes.set_ylabel("true class (pictures)", fontsize=11)
    axes.set_xlabel("predicted class", fontsize=11)
    title = _title(title, missing, figure)
    figure.suptitle(title, fontsize=12, **font)
    _write_cells(axes, counts, percent)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, aspect=25)
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)
    _save(figure, path)


def learning_curves(rows: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> None:
    """Draw loss and accuracy over the epochs to the PNG file `path`.

    rows: one per draw and epoch, with keys draw, epoch, train_loss, train_acc and, in epochs with
    an evaluation, test_loss, test_acc, ema_test_acc; accuracies in percent. Thin lines are single
    draws, thick lines the mean of the draws, bands one standard deviation to either side.
    """
    families, missing = families_for([title])
    figure = Figure(figsize=(11, 4.6), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    loss, accuracy = figure.subplots(1, 2)
    _curves(loss, rows, "train_loss", "training", TRAIN)
    _curves(loss, rows, "test_loss", "test (watching only)", TEST)
    _curves(accuracy, rows, "train_acc", "training", TRAIN)
    _curves(accuracy, rows, "test_acc", "test", TEST)
    _curves(accuracy, rows, "ema_test_acc", "test, averaged weights", EMA)
    loss.set_ylim(bottom=0)
    loss.set_ylabel("cross-entropy loss")
    accuracy.set_ylim(0, 101)
    accuracy.set_ylabel(
        "accuracy, %\ntest accuracy (watching only; never used to choose)", fontsize=9
    )
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="best" if axes is loss else "lower right")
    draws = len({row["draw"] for row in rows})
    note = f"mean of {draws} draws ± 1 standard deviation" if draws > 1 else "one draw"
    title = _title(f"{title} ({note})" if title else note, missing, figure)
    figure.suptitle(title, fontsize=12, fontfamily=families)
    _save(figure, path)


def _curves(
    axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, label: str, color: str
) -> None:
    draws: dict[Any, dict[int, float]] = {}
    for row in rows:
        value = row.get(key)
        if value is not None:
            draws.setdefault(row["draw"], {})[row["epoch"]] = value
    if not draws:
        return
    # A mean over other draws at every epoch would jump where a draw starts or ends.
    shared = sorted(set.intersection(*(set(curve) for curve in draws.values())))
    marker = "o" if len(shared) <= 25 else ""
    if len(draws) > 1:
        for curve in draws.values():
            axes.plot(*zip(*sorted(curve.items()), strict=True), color=color, lw=0.6, alpha=0.35)
    values = np.array([[curve[epoch] for epoch in shared] for curve in draws.values()], float)
    mean = values.mean(axis=0)
    axes.plot(shared, mean, color=color, lw=2, marker=marker, ms=3.5, label=label)
    if len(draws) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(shared, mean - spread, mean + spread, color=color, alpha=0.15, lw=0)


def _write_cells(
    axes: Axes, counts: NDArray[np.integer[Any]], percent: NDArray[np.floating[Any]]
) -> None:
    number = len(counts)
    if number > 60:
        return  # unreadable; the colours still distinguish the classes
    size = 9 if number <= 10 else 7 if number <= 15 else 6
    for row, column in np.argwhere(counts > 0):
        share = percent[row, column]
        text = "<1" if share < 0.5 else f"{share:.0f}"
        if number <= 15:
            text = f"{text}%\n{counts[row, column]}"
        color = "white" if share > 55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def _writable(classes: Sequence[str], missing: set[str], path: Path) -> list[str]:
    """The class names, with numbers (from 1) in place of those that would be drawn as boxes."""
    numbered = {name: f"class {i}" for i, name in enumerate(classes, 1) if missing & set(name)}
    if numbered:
        meaning = ", ".join(f"{number} = {escaped(name)}" for name, number in numbered.items())
        warnings.warn(
            f"{path.name}: no installed font can write these class names, so they are numbered: "
            f"{meaning}. Install a font such as Noto Sans CJK.",
            stacklevel=3,
        )
    return [escaped(numbered.get(name, name)) for name in classes]


def _title(text: str, missing: set[str], figure: Figure) -> str:
    """In lines as wide as the figure, with `?` for characters that no font has."""
    per_line = int(figure.get_figwidth() * 9)  # of 12-point type
    return "\n".join(drawable(line, missing) for line in textwrap.wrap(text, per_line))


def _shorten(name: str, lines: int, missing: set[str], width: int = 20) -> str:
    """At most `lines` (1 or 2) lines of about `width` characters, with an ellipsis if need be."""
    if len(name) > width and lines == 2:
        breaks = [match.end() for match in re.finditer(r"[\s_-]", name)]
        cut = min(breaks, key=lambda end: abs(end - len(name) / 2), default=width)
        parts = [name[:cut].rstrip(), name[cut:]]
    else:
        parts, width = [name], width + 10
    parts = [part if len(part) <= width else part[: width - 1] + "…" for part in parts]
    return "\n".join(drawable(part, missing) for part in parts)


def _save(figure: Figure, path: Path) -> None:
    with writing(path) as aside:
        figure.set_dpi(130)
        # print_figure does the layout twice
        FigureCanvasAgg(figure).print_png(str(aside))  # type: ignore[no-untyped-call]
