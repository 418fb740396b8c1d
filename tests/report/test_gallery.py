"""Pages and sheets show pictures of the data folder and no other file of the machine."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.report.gallery import pictures_below
from cvgssl.report.mistakes import Mistake, mistakes_figure
from cvgssl.report.selection import selection_sheet


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a gray picture and links; a black picture beside it that is secret."""
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    Image.fromarray(np.full((60, 60), 128, np.uint8)).save(folder / "a" / "x.png")
    Image.fromarray(np.zeros((60, 60), np.uint8)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "elsewhere").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    return folder


OUTSIDE = ("../secret.png", "a/../../secret.png", "link.png", "elsewhere/secret.png", "bad\0.png")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_picture_outside_is_told_and_not_shown(data: Path, name: str) -> None:
    files, note = pictures_below(data, [name, "a/x.png"], "--pictures")
    assert files == {"a/x.png": data / "a" / "x.png"}
    assert note.startswith("1 picture is not shown, because not below ")
    assert "\0" not in note and note.endswith(
        "; if they may be shown, name their folder with --pictures"
    )


def test_whole_paths_links_to_the_folder_and_lists_in_it_are_understood(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(data)
    (data / "split.csv").write_text("path,label,split\n")
    inside, outside = str(data / "a" / "x.png"), str(tmp_path / "secret.png")
    for place in (data, tmp_path / "linked", data / "split.csv"):
        files, note = pictures_below(place, [inside, outside, "a/x.png"], "--pictures")
        assert set(files) == {inside, "a/x.png"}
        assert outside in note
    assert pictures_below(data, ["a/x.png", "gone.png"], "")[1] == ""


def test_a_contact_sheet_has_an_empty_place_for_it(data: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    note = selection_sheet(["../secret.png", "a/x.png", "link.png"], data, sheet)
    assert note.startswith("2 pictures are not shown, because not below")
    pixels = np.asarray(Image.open(sheet))[:, -3 * 126 :]  # the pictures, without the numbers
    assert pixels.min() == 128, "nothing of the black picture"
    assert (pixels == 128).sum() == 120**2
    note = selection_sheet(["../secret.png"], data, tmp_path / "none.png")
    assert note.startswith("no contact sheet: 1 picture is not shown")
    assert not (tmp_path / "none.png").exists()


def test_a_figure_of_mistakes_does_not_show_it(data: Path, tmp_path: Path) -> None:
    mistakes = [Mistake("link.png", "a", "b", 0.5)]
    files, _ = pictures_below(data, ["link.png"], "")
    assert mistakes_figure(mistakes, files, tmp_path / "m.jpg", "t") is None
