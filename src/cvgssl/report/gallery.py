"""A figure of test pictures with what a recognizer says about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cvgssl.report.fonts import families_for
from cvgssl.runtime.files import writing

RIGHT, WRONG = "#1a7f37", "#cf222e"


@dataclass(frozen=True)
class Judged:
    """A picture, uint8 [H, W] or [H, W, 3], its class, the class named and its probability."""

    pixels: NDArray[np.uint8]
    label: str
    named: str
    probability: float


def gallery_figure(rows: Sequence[Sequence[Judged]], path: Path, title: str) -> None:
    """Draw one row of pictures per class to the PNG file `path`; wrong names stand in red."""
    columns = max(map(len, rows))
    names = sorted({name for row in rows for one in row for name in (one.label, one.named)})
    families, _ = families_for([*names, title])
    figure = Figure(figsize=(1.45 * columns, 1.72 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        for axis in axes:
            axis.axis("off")
        for axis, one in zip(axes, row, strict=False):
            axis.imshow(one.pixels, cmap="gray", vmin=0, vmax=255)
            axis.set_title(
                f"{one.named} {100 * one.probability:.0f} %",
                fontsize=7.5,
                color=RIGHT if one.named == one.label else WRONG,
                family=families,
                pad=3,
            )
    figure.suptitle(title, fontsize=10, family=families)
    with writing(path) as aside:
        FigureCanvasAgg(figure).print_figure(str(aside), format="png", dpi=90)
