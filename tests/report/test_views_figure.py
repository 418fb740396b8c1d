from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cvgssl.report.views_figure import views_figure
from cvgssl.views.recipe import ViewRecipe

WEAK, STRONG = ViewRecipe(64, (0.2, 1.0), flip_y=0.5), ViewRecipe(32, (0.1, 0.5), blur=0.5)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as sheet:
        return np.asarray(sheet)


def pictures(channels: int = 1, count: int = 3) -> torch.Tensor:
    ramp = torch.linspace(0, 200, 64).expand(count, channels, 64, 64)
    return ramp.to(torch.uint8)


def test_a_row_holds_the_picture_and_two_views_of_each_kind(tmp_path: Path) -> None:
    path = tmp_path / "views.png"
    views_figure(pictures(), [WEAK, STRONG], seed=0, path=path)
    sheet = pixels(path)
    top = sheet.shape[0] - 3 * 150
    assert (sheet[:top] < 128).sum() > 100  # titles
    lefts = [6, 168, 318, 480, 630]
    assert sheet.shape[1] == 630 + 144 + 6
    for row in range(3):
        line = sheet[top + 150 * row : top + 150 * row + 144]
        assert (line[:, 150:168] == 255).all()
        for left in lefts:
            assert line[:, left : left + 144].max() < 255
    first, *views = (sheet[top : top + 144, left : left + 144].astype(int) for left in lefts)
    assert (np.diff(first.mean(0)) >= 0).all()  # the picture itself, not mirrored
    assert len({view.tobytes() for view in (first, *views)}) == 5


def test_colour_stays_and_gray_stays_gray(tmp_path: Path) -> None:
    views_figure(pictures(1, 1), [WEAK], 0, tmp_path / "gray.png")
    colour = pictures(3, 1).clone()
    colour[:, 1:] //= 4
    views_figure(colour, [WEAK], 0, tmp_path / "colour.png")
    assert pixels(tmp_path / "gray.png").ndim == 2
    red = pixels(tmp_path / "colour.png")[-100:, 200:300]
    assert (red[..., 0] > red[..., 1]).mean() > 0.5


def test_the_views_are_those_of_the_seed_and_the_keys(tmp_path: Path) -> None:
    a, b, c, d = (tmp_path / name for name in "abcd")
    keys = torch.tensor([5, 6, 7])
    views_figure(pictures(), [WEAK, STRONG], 1, a, keys)
    views_figure(pictures(), [WEAK, STRONG], 1, b, keys)
    views_figure(pictures(), [WEAK, STRONG], 2, c, keys)
    views_figure(pictures(), [WEAK, STRONG], 1, d)
    assert a.read_bytes() == b.read_bytes()
    assert len({path.read_bytes() for path in (a, c, d)}) == 3
