"""A sheet of the chosen pictures, to label them by."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cvgssl.images.geometry import MAX_MEGAPIXELS
from cvgssl.images.reader import UnreadablePicture, read_picture
from cvgssl.report.fonts import escaped, families_for
from cvgssl.report.gallery import pictures_below
from cvgssl.runtime.files import writing
from cvgssl.runtime.parsing import printable
from cvgssl.runtime.progress import progress

_GAP = 6  # pixels between pictures and around the sheet


def contact_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8]]], path: Path, side: int = 150
) -> None:
    """Write a PNG with one row of pictures per class, its name at the left.

    rows: class name to gray uint8 pictures [H, W] of any size; rows may differ in length.
    side: pixels of a picture's longer side on the sheet; the aspect is kept.
    A name in a script that no installed font has is replaced by `class N`.
    Raises ValueError when there is no picture.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    names, font = _names_and_font(list(rows), size=max(14, side // 8))
    margin = max(round(font.getlength(name)) for name in names) + 3 * _GAP
    cell = side + _GAP
    sheet = Image.new("L", (margin + columns * cell, len(rows) * cell + _GAP), 255)
    draw = ImageDraw.Draw(sheet)
    for row, (name, pictures) in enumerate(zip(names, rows.values(), strict=True)):
        top = _GAP + row * cell
        draw.text((_GAP, top + side / 2), name, fill=0, font=font, anchor="lm")
        for column, pixels in enumerate(pictures):
            sheet.paste(_fit(pixels, side), (margin + column * cell, top))
    with writing(path) as aside:
        sheet.save(aside, format="PNG", optimize=True)


def _fit(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    height, width = pixels.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _names_and_font(names: list[str], size: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """A font for the names; a name that it cannot write becomes the class's number."""
    families, missing = families_for(names)
    written = [f"class {i}" if missing & set(n) else escaped(n) for i, n in enumerate(names, 1)]
    return written, ImageFont.truetype(findfont(families[-1]), size)


PER_ROW, SIDE = 10, 120
_EMPTY = np.full((SIDE, SIDE), 255, dtype=np.uint8)  # in place of a picture that is not shown
SHOWN = 300  # pictures; a larger sheet is of no use to anybody


def selection_sheet(
    names: Sequence[str], data: Path, path: Path, max_megapixels: int = MAX_MEGAPIXELS
) -> str:
    """Write a PNG of the pictures called `names`, ten in a row, numbered in the order given.

    data: what they are below, as of `pictures_below`; others leave an empty place. Gives what there
    is to say about the sheet: how many are not shown, or why there is no sheet when a picture is
    missing or cannot be read; else nothing.
    """
    shown = names[:SHOWN]
    files, outside = pictures_below(data, shown, "--pictures")
    if not files:
        return f"no contact sheet: {outside}"
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        return (
            f"no contact sheet: {printable(str(missing[0]))} is not there; name the folder of the "
            "pictures with --pictures"
        )
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    try:
        with progress("reading", len(shown)) as advance:
            for start in range(0, len(shown), PER_ROW):
                part = shown[start : start + PER_ROW]
                rows[_numbers(start, len(part))] = [
                    _small(files[name], max_megapixels) if name in files else _EMPTY
                    for name in part
                ]
                advance(len(part))
    except UnreadablePicture as error:
        return f"no contact sheet: {error}"
    contact_sheet(rows, path, SIDE)
    many = f"the contact sheet shows the first {SHOWN}" if len(names) > SHOWN else ""
    return "\n".join(filter(None, (many, outside)))


def _numbers(start: int, count: int) -> str:
    return f"{start + 1}-{start + count}" if count > 1 else str(start + 1)


def _small(path: Path, max_megapixels: int) -> NDArray[np.uint8]:
    image = Image.fromarray(read_picture(path, max_megapixels=max_megapixels)).convert("L")
    image.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)
