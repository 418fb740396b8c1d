import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib.font_manager import fontManager
from numpy.typing import NDArray
from PIL import Image

from cvgssl.report import fonts
from cvgssl.report.figures import confusion_figure, learning_curves

CLASSES = ["crazing", "rolled-in_scale", "oxide scale of the plate system"]
COUNTS = np.array([[50, 8, 2], [0, 60, 0], [0, 0, 0]])


@pytest.fixture
def chinese_font(tmp_path: Path) -> Iterator[str]:
    """A small real font file with the two characters of 夹杂, installed for one test."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    pen.lineTo((900, 0))
    pen.lineTo((500, 800))
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "one", "two"])
    builder.setupCharacterMap({ord("夹"): "one", ord("杂"): "two"})
    builder.setupGlyf({".notdef": glyph, "one": glyph, "two": glyph})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "one", "two"), (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800)
    builder.setupPost()
    file = tmp_path / "chinese.ttf"
    builder.save(file)
    before = list(fontManager.ttflist)
    fontManager.addfont(file)
    yield "Noto Sans CJK SC"
    fontManager.ttflist[:] = before


def pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def test_confusion_figure_draws_and_leaves_pyplot_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "confusion.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_figure(COUNTS, CLASSES, path, "three classes, one without pictures")
    drawn = pixels(path)
    dark = (drawn[..., 2] - drawn[..., 0] > 80).mean()
    assert drawn.shape[0] > 300 and dark > 0.02  # two cells of a full blue
    assert "matplotlib.pyplot" not in sys.modules
    assert [file.name for file in path.parent.iterdir()] == ["confusion.png"]


@pytest.mark.parametrize("number", [1, 2, 15, 40, 70])
def test_confusion_figure_of_any_number_of_classes(tmp_path: Path, number: int) -> None:
    classes = [f"kind {i} with $ and a rather long name" for i in range(number)]
    confusion_figure(np.eye(number, dtype=int) * 7, classes, tmp_path / "c.png", "")
    height, width, _ = pixels(tmp_path / "c.png").shape
    assert 200 < height < 4000 and 200 < width < 4000


def test_a_long_title_is_not_cut_off(tmp_path: Path) -> None:
    title = "/a/path/without/any/break" * 12
    confusion_figure(COUNTS, CLASSES, tmp_path / "c.png", title)
    learning_curves(rows(2, 3, 1), tmp_path / "l.png", title)
    for name in ("c.png", "l.png"):
        drawn = pixels(tmp_path / name)
        assert (drawn[:, :6] == 255).all() and (drawn[:, -6:] == 255).all(), "empty margins"


def test_names_without_a_font_are_numbered_and_told(tmp_path: Path) -> None:
    private = "\U0010fa23\U0010fa24"  # private use of plane 16; STIX fonts have some of plane 0
    with pytest.warns(UserWarning, match=f"class 2 = {private}") as caught:
        confusion_figure(COUNTS, ["a", private, "c"], tmp_path / "c.png", private)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 1, "matplotlib must not be asked for a glyph that is not there"


def test_controls_and_bytes_that_are_no_utf8_are_drawn_as_escapes(tmp_path: Path) -> None:
    strange = ["a\x1b[31m\nb", "c\udce9", "d\x00"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_figure(COUNTS, strange, tmp_path / "c.png", strange[0])
        plain = [r"a\x1b[31m\nb", r"c\xe9", r"d\x00"]
        confusion_figure(COUNTS, plain, tmp_path / "plain.png", strange[0])
    assert np.array_equal(pixels(tmp_path / "c.png"), pixels(tmp_path / "plain.png"))
    assert fonts.drawable("a\x1b$\udce9\t\u0378", {"\u0378"}) == r"a\x1b\$\xe9\t?"


def test_an_installed_font_is_found_for_chinese(chinese_font: str, tmp_path: Path) -> None:
    families, missing = fonts.families_for(["scratches", "夹 杂"])
    assert families == [fonts.DEFAULT, chinese_font] and not missing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_figure(COUNTS, ["夹杂", "b", "c"], tmp_path / "c.png", "夹杂")
    plain = tmp_path / "plain.png"
    confusion_figure(COUNTS, ["  ", "b", "c"], plain, "  ")
    assert not np.array_equal(pixels(tmp_path / "c.png"), pixels(plain))


def test_european_names_need_no_other_font() -> None:
    assert fonts.families_for(["Ölfleck", "ржавчина", "čára"]) == ([fonts.DEFAULT], set())


def rows(draws: int, epochs: int, every: int) -> list[dict[str, Any]]:
    made = []
    for draw in range(1, draws + 1):
        for epoch in range(1, epochs + 1):
            row: dict[str, Any] = {
                "draw": draw,
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "train_acc": 50.0 + epoch,
            }
            if epoch % every == 0:
                row |= {"test_loss": 1.2 / epoch, "test_acc": 40.0 + epoch + draw}
            made.append(row)
    return made


@pytest.mark.parametrize(("draws", "epochs", "every"), [(1, 1, 1), (1, 3, 5), (3, 20, 10)])
def test_learning_curves(tmp_path: Path, draws: int, epochs: int, every: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learning_curves(rows(draws, epochs, every), tmp_path / "curves.png", "title")
    blue = pixels(tmp_path / "curves.png")
    has_test_curve = ((blue[..., 2] > 150) & (blue[..., 0] < 40)).any()
    assert has_test_curve == (epochs >= every)


def test_learning_curves_of_an_unfinished_run_and_lost_numbers(tmp_path: Path) -> None:
    unfinished = rows(2, 4, 1)[:-2]
    unfinished[0]["train_loss"] = float("nan")
    unfinished[1]["test_acc"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learning_curves(unfinished, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
