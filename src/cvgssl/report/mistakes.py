"""A gallery of the test pictures that a benchmark's heads name wrongly most often."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cvgssl.bench.cells import CellResult
from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.reader import read_picture
from cvgssl.report.fonts import drawable, escaped, families_for
from cvgssl.report.gallery import RIGHT, WRONG
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

COLUMNS, SHOWN = 8, 24
ALL_ASKED = ("inductive", "semi-supervised", "transductive")  # every test picture in every draw


@dataclass(frozen=True)
class Mistake:
    """A test picture: its class, the class it is most often mistaken for, in what share of asks."""

    name: str
    label: str
    predicted_class: str
    share: float


def worst_mistakes(results: Sequence[CellResult], shown: int = SHOWN) -> list[Mistake]:
    """The pictures most often mistaken for one class, over all these cells and their draws.

    No head is chosen for it. Cells that ask other pictures in each draw do not count.
    """
    results = [result for result in results if result.setting in ALL_ASKED and _recorded(result)]
    total = sum(len(result.accuracy) for result in results)
    times: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for result in results:
        for name, (label, named, often, _) in result.mistakes.items():
            times[name, label][named] += often
    worst = []
    for (name, label), counts in times.items():
        named, often = max(counts.items(), key=lambda item: (item[1], -item[0]))
        worst.append((often, name, label, named))
    classes = results[0].classes if results else []
    return [
        Mistake(name, classes[label], classes[named], often / total)
        for often, name, label, named in sorted(worst, key=lambda item: (-item[0], item[1]))[:shown]
    ]


def _recorded(result: CellResult) -> bool:
    """Whether the cell knows its mistakes by picture; fine-tuning knows their number only."""
    counts = np.array(result.confusion)
    return bool(result.mistakes) or counts.sum() == np.trace(counts)


def mistakes_figure(
    mistakes: Sequence[Mistake],
    files: Mapping[str, Path],
    path: Path,
    title: str,
    max_megapixels: int = MAX_MEGAPIXELS,
) -> Path | None:
    """Draw the JPEG file `path`; None (and no file) when no picture can be read.

    files: where the pictures are, by name; those without a file are not shown.
    """
    pictures = [
        (mistake, pixels)
        for mistake in mistakes
        if mistake.name in files
        and (pixels := _read(files[mistake.name], max_megapixels)) is not None
    ]
    if not pictures:
        return None
    families, missing = families_for(
        [title, *(f"{mistake.label}{mistake.predicted_class}" for mistake in mistakes)]
    )

    def short(text: str, width: int = 22) -> str:
        text = escaped(text)
        return drawable(text if len(text) <= width else text[: width - 1] + "…", missing)

    lines = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(1.55 * COLUMNS, 2.0 * lines + 0.4), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (mistake, pixels) in zip(grid.flat, pictures, strict=False):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        shared = {"fontsize": 7, "fontfamily": families, "ha": "center"}
        axes.text(0.5, 1.14, short(mistake.label), color=RIGHT, transform=axes.transAxes, **shared)
        text = f"{short(mistake.predicted_class, 17)} {100 * mistake.share:.0f} %"
        axes.text(0.5, 1.02, text, color=WRONG, transform=axes.transAxes, **shared)
    figure.suptitle(short(title, 200), fontsize=10, fontfamily=families)
    with writing(path) as aside:
        FigureCanvasAgg(figure).print_figure(
            str(aside), format="jpeg", dpi=90, pil_kwargs={"quality": 80}
        )
    return path


def _read(path: Path, max_megapixels: int) -> NDArray[np.uint8] | None:
    try:
        return read_picture(path, max_megapixels=max_megapixels)
    except (UserError, OSError):
        return None  # the features may have travelled without the pictures
