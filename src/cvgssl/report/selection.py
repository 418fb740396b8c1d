"""A contact sheet of the pictures that are to be labelled."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.reader import UnreadablePicture, read_picture
from cvgssl.report.contact_sheet import contact_sheet
from cvgssl.runtime.progress import progress

PER_ROW, SIDE = 10, 120
SHOWN = 300  # pictures; a larger sheet is of no use to anybody


def selection_sheet(names: Sequence[str], folder: Path, path: Path) -> str:
    """Write a PNG of the pictures `folder`/name, ten in a row, numbered in the order given.

    Gives what there is to say about it: how many are left out, or why there is no sheet when a
    picture is missing or cannot be read; else nothing.
    """
    shown = names[:SHOWN]
    missing = [name for name in shown if not (folder / name).is_file()]
    if missing:
        return (
            f"no contact sheet: {folder / missing[0]} is not there; name the folder of the "
            "pictures with --pictures"
        )
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    try:
        with progress("reading", len(shown)) as advance:
            for start in range(0, len(shown), PER_ROW):
                part = shown[start : start + PER_ROW]
                rows[_numbers(start, len(part))] = [_small(folder / name) for name in part]
                advance(len(part))
    except UnreadablePicture as error:
        return f"no contact sheet: {error}"
    contact_sheet(rows, path, SIDE)
    return f"the contact sheet shows the first {SHOWN}" if len(names) > SHOWN else ""


def _numbers(start: int, count: int) -> str:
    return f"{start + 1}-{start + count}" if count > 1 else str(start + 1)


def _small(path: Path) -> NDArray[np.uint8]:
    image = Image.fromarray(read_picture(path)).convert("L")
    image.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)
