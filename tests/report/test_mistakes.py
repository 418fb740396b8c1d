from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.bench.cells import CellResult
from cvgssl.report.mistakes import mistakes_figure, worst_mistakes

Mistaken = dict[str, tuple[int, int, int, int]]


def cell(mistakes: Mistaken, setting: str = "inductive", draws: int = 10) -> CellResult:
    return CellResult(
        "key", "steel", "vit", "head", setting, 1, "draws", False, {}, [50.0] * draws,
        [50.0] * draws, [0.1] * draws, ["dent", "pit", "rust"],
        np.eye(3, dtype=int).tolist(), mistakes, [],
    )  # fmt: skip


def test_the_worst_over_all_cells_come_first() -> None:
    found = worst_mistakes(
        [
            cell({"a.png": (0, 1, 6, 10), "b.png": (0, 2, 9, 10)}),
            cell({"a.png": (0, 1, 10, 10), "c.png": (2, 0, 1, 10)}, "transductive"),
            cell({"c.png": (2, 0, 99, 100)}, "transductive-dirichlet"),  # asks others: not counted
        ]
    )
    assert [(one.name, one.label, one.predicted_class) for one in found] == [
        ("a.png", "dent", "pit"),
        ("b.png", "dent", "rust"),
        ("c.png", "rust", "dent"),
    ]
    assert [one.share for one in found] == pytest.approx([16 / 20, 9 / 20, 1 / 20])


def test_no_mistakes_no_gallery() -> None:
    assert worst_mistakes([]) == worst_mistakes([cell({})]) == []


def test_a_gallery_shows_the_pictures_that_are_there(tmp_path: Path) -> None:
    mistakes = worst_mistakes([cell({"a.png": (0, 1, 6, 10), "gone.png": (0, 1, 5, 10)})])
    files = {name: tmp_path / name for name in ("a.png", "gone.png")}
    assert mistakes_figure(mistakes, files, tmp_path / "none.jpg", "steel") is None
    assert not (tmp_path / "none.jpg").exists()
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(tmp_path / "a.png")
    path = mistakes_figure(mistakes, files, tmp_path / "some.jpg", "steel $1")
    assert path is not None
    picture = Image.open(path)
    assert picture.format == "JPEG"
    pixels = np.array(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 40).sum()
    assert red > 10, "the wrong name"
