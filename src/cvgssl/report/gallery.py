"""Pictures on pages that are sent by mail: which may be shown, and a figure of judged ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cvgssl.images.names import FilesBelow
from cvgssl.report.fonts import drawable, families_for
from cvgssl.runtime.files import writing
from cvgssl.runtime.parsing import printable

RIGHT, WRONG = "#1a7f37", "#cf222e"


def pictures_below(data: Path, names: Iterable[str], remedy: str) -> tuple[dict[str, Path], str]:
    """Files of the pictures called `names` by a list or features file, of those below `data`.

    A file that somebody else made can name any picture of this machine, by `..`, a whole path or a
    link; what is not below the data folder goes into no page, figure or contact sheet.
    data: a folder, or a CSV, whose folder counts. remedy: the option that names another folder.
    Also gives a line that says how many are not shown, or "".
    """
    inside: dict[str, Path] = {}
    outside = []
    folder = data.parent if data.is_file() else data
    base = folder.resolve()
    files = FilesBelow(folder)
    for name in names:
        try:
            path = (files.find(name) or folder / name).resolve()
        except (OSError, ValueError, RuntimeError):  # no name of a file, or a circle of links
            outside.append(name)
            continue
        if path.is_relative_to(base):
            inside[name] = path
        else:
            outside.append(name)
    if not outside:
        return inside, ""
    few = f"{len(outside)} pictures are" if len(outside) > 1 else "1 picture is"
    others = ", ..." if len(outside) > 1 else ""
    return inside, (
        f"{few} not shown, because not below {printable(str(folder))}: {printable(outside[0])}"
        f"{others}; if they may be shown, name their folder with {remedy}"
    )


@dataclass(frozen=True)
class ShownPicture:
    """A picture, uint8 [H, W] or [H, W, 3], its class, the answer, its probability or None."""

    pixels: NDArray[np.uint8]
    label: str
    predicted_class: str
    probability: float | None


def gallery_figure(
    rows: Sequence[Sequence[ShownPicture]], path: Path, title: str, names: Sequence[str]
) -> None:
    """Draw a row of pictures per class to the PNG file `path`; wrong answers are red.

    names: of the rows, written beside them.
    """
    columns = max(map(len, rows))
    written = {judged.predicted_class for row in rows for judged in row}
    families, missing = families_for([*sorted(written), *names, title])
    figure = Figure(figsize=(1.45 * columns, 1.72 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row, name in zip(grid, rows, names, strict=True):
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        axes[0].set_ylabel(drawable(name, missing), fontsize=8, family=families)
        for axis, judged in zip(axes, row, strict=False):
            share = "" if judged.probability is None else f" {100 * judged.probability:.0f} %"
            axis.imshow(judged.pixels, cmap="gray", vmin=0, vmax=255)
            axis.set_title(
                drawable(judged.predicted_class, missing) + share,
                fontsize=7.5,
                color=RIGHT if judged.predicted_class == judged.label else WRONG,
                family=families,
                pad=3,
            )
    figure.suptitle(drawable(title, missing), fontsize=10, family=families)
    with writing(path) as aside:
        FigureCanvasAgg(figure).print_figure(str(aside), format="png", dpi=90)
