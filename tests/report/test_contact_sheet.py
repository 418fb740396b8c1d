from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.report.selection import contact_sheet, selection_sheet


def flat(gray: int, height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width), gray, np.uint8)


def test_rows_hold_names_at_the_left_and_pictures_in_order(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet({"crazing": [flat(10), flat(60)], "scratches": [flat(110)]}, path, side=100)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    height, width = pixels.shape
    assert height == 2 * 106 + 6
    assert pixels[56, width - 56] == 60
    assert pixels[56, width - 162] == 10
    assert pixels[162, width - 162] == 110
    assert pixels[162, width - 56] == 255  # the shorter row ends
    names = pixels[:, : width - 2 * 106 - 6]
    for top in (6, 112):
        written = np.nonzero((names[top : top + 100] < 128).any(axis=1))[0]
        assert written[-1] - written[0] >= 8  # letters are there, and readable


def test_the_aspect_of_long_pictures_is_kept(tmp_path: Path) -> None:
    contact_sheet({"a": [flat(0, 20, 80)]}, tmp_path / "s.png", side=80)
    with Image.open(tmp_path / "s.png") as sheet:
        black = np.asarray(sheet)[:, -86:] < 128
    assert black.any(axis=1).sum() == 20
    assert black.any(axis=0).sum() == 80


def test_no_picture_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet({"a": []}, tmp_path / "s.png")
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_font_can_write_becomes_a_number(tmp_path: Path) -> None:
    unassigned = chr(0x0378)
    contact_sheet({unassigned: [flat(0)]}, tmp_path / "a.png")
    contact_sheet({"class 1": [flat(0)]}, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_sheet_reads_pictures_as_large_as_the_option_allows(tmp_path: Path) -> None:
    Image.fromarray(flat(90, 1000, 1200)).save(tmp_path / "a.png")
    sheet = tmp_path / "sheet.png"
    assert "give --max-megapixels 2" in selection_sheet(["a.png"], tmp_path, sheet, 1)
    assert not sheet.exists()
    assert selection_sheet(["a.png"], tmp_path, sheet, 2) == ""
    assert sheet.is_file()
