"""Pictures beside the random views that pre-training makes of them, as one PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cvgssl.report.fonts import DEFAULT
from cvgssl.runtime.files import writing
from cvgssl.views.random_numbers import view_numbers
from cvgssl.views.random_views import draw_views, render
from cvgssl.views.recipe import ViewRecipe

_GAP = 6  # pixels between pictures and around the sheet
_CELL = 144  # side of a picture on the sheet
_VERSIONS = 2  # views of each kind: those of the first epochs


def views_figure(
    pictures: Tensor,
    recipes: Sequence[ViewRecipe],
    seed: int,
    path: Path,
    keys: Tensor | None = None,
) -> None:
    """Write a PNG with one row per picture: itself, then two views by each recipe.

    pictures: uint8 [P, C, S, S], C 1 or 3. recipes: that of the weak view, then the strong ones.
    keys: int64 [P], what training knows the pictures by; with its seed, the views shown are those
    of its first two epochs. Left out: 0, 1, ...
    Views are shown at one size; titles give their own.
    """
    assert len(pictures) and len(recipes)
    keys = torch.arange(len(pictures)) if keys is None else keys
    groups = [[pictures]]
    for role, recipe in enumerate(recipes):
        numbers = [
            view_numbers(seed, keys, role, len(recipes), epoch, bank=0)
            for epoch in range(_VERSIONS)
        ]
        groups.append([_views(pictures, recipe, seed, keys, number) for number in numbers])
    titles = ["picture", *(_title(role, recipe) for role, recipe in enumerate(recipes))]
    sheet = _sheet(groups, titles)
    with writing(path) as aside:
        sheet.save(aside, format="PNG", optimize=True)


def _views(
    pictures: Tensor, recipe: ViewRecipe, seed: int, keys: Tensor, numbers: Tensor
) -> Tensor:
    parameters = draw_views(recipe, seed, keys, numbers, pictures.shape[-1])
    return render(pictures, parameters, recipe.size).mul_(255).round_().to(torch.uint8)


def _title(role: int, recipe: ViewRecipe) -> str:
    least, most = recipe.scale
    name = f"strong {role}" if role else "weak"
    return f"{name}, {recipe.size} px\n{100 * least:.3g} to {100 * most:.3g} % of the area"


def _sheet(groups: list[list[Tensor]], titles: list[str]) -> Image.Image:
    """Groups of columns side by side, a title above each; a column is uint8 [P, C, s, s]."""
    rows, channels = groups[0][0].shape[:2]
    font = ImageFont.truetype(findfont(DEFAULT), 14)
    head = 3 * _GAP + 2 * 16
    cell = _CELL + _GAP
    columns = sum(map(len, groups))
    width = 2 * _GAP * len(groups) + columns * cell - _GAP
    sheet = Image.new("L" if channels == 1 else "RGB", (width, head + rows * cell), "white")
    pen = ImageDraw.Draw(sheet)
    left = _GAP
    for title, group in zip(titles, groups, strict=True):
        pen.multiline_text((left, _GAP), title, fill="black", font=font)
        for column in group:
            for row, pixels in enumerate(column):
                sheet.paste(_cell(pixels.numpy()), (left, head + row * cell))
            left += cell
        left += 2 * _GAP  # between groups
    return sheet


def _cell(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return image.resize((_CELL, _CELL), Image.Resampling.BILINEAR)
