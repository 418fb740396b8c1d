"""Which files are pictures, and what is said of the others."""

import logging
import os
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from cvgssl.images.check import check_data
from cvgssl.images.listing import Inventory, has_pictures, list_pictures
from cvgssl.images.scan import load_dataset
from cvgssl.runtime.errors import UserError


def picture(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path, format=kind)
    return path


@pytest.mark.parametrize("kind", ["BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["a.jfif", "a.tif2", "a", "a.dat", "a.JPE"])
def test_a_picture_under_another_ending_or_none(tmp_path: Path, kind: str, name: str) -> None:
    path = picture(tmp_path / name, kind)
    assert list_pictures(tmp_path) == [path]


@pytest.mark.parametrize(
    "content", [b"", b"BM is no bitmap, but a text", b"P5", b"RIFF0000WAVEfmt ", b"II", b"GIF89a"]
)
def test_other_files_are_no_pictures(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert list_pictures(tmp_path) == []


def test_what_is_left_out_is_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "a.png")
    for name in ("1.txt", "2.txt", "3.XML", "readme", ".hidden.png", "sub/4.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text")
    for name in (".DS_Store", "._a.png", "Thumbs.db"):
        picture(tmp_path / name)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    with caplog.at_level(logging.WARNING):
        assert [path.name for path in list_pictures(tmp_path)] == ["a.png"]
    assert (
        "left out: 5 files are no pictures: 3 .txt, 1 .xml, 1 without ending; 1 file is hidden; "
        "1 file is a link that leads nowhere; 1 file is a pipe or device"
    ) in caplog.text
    picture(tmp_path / "class/b.png").with_name("c.xml").touch()
    told = [item.message for item in check_data(tmp_path).findings if item.kind == "left_out"]
    # beside class folders only pictures count
    assert told == ["left out: 2 files are no pictures: 1 .txt, 1 .xml"]


def test_links_that_lead_nowhere_are_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "a/0.png")
    (tmp_path / "a/1.png").symlink_to(tmp_path / "store/1.png")
    (tmp_path / "a/2.png").symlink_to(tmp_path / "a/2.png")
    assert [path.name for path in list_pictures(tmp_path)] == ["0.png", "1.png", "2.png"]
    report = check_data(tmp_path)
    assert report.spoiled
    (finding,) = [item for item in report.findings if item.kind == "unreadable"]
    assert [name for name, _ in finding.items] == ["a/1.png", "a/2.png"]


def test_the_order_is_that_of_composed_letters(tmp_path: Path) -> None:
    names = ["a 2.png", "a 10.png", "prue.png", "prüf 1.png", "prz.png", "ü.png"]
    orders = []
    for form in ("NFC", "NFD"):
        for name in names:
            picture(tmp_path / form / unicodedata.normalize(form, name))
        listed = [path.name for path in list_pictures(tmp_path / form)]
        orders.append([unicodedata.normalize("NFC", name) for name in listed])
    assert orders[0] == orders[1]


def test_two_names_that_differ_only_in_their_form(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        picture(tmp_path / unicodedata.normalize(form, "ü.png"))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("the file system takes both for one")
    with pytest.raises(UserError, match="differ only in how their letters are composed"):
        list_pictures(tmp_path)


def test_a_first_picture_is_enough(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert not has_pictures(tmp_path)
    picture(tmp_path / "sub/x")
    assert has_pictures(tmp_path)


def test_folders_add_up(tmp_path: Path) -> None:
    inventory = Inventory()
    for name in ("a", "b"):
        picture(tmp_path / name / "0.png")
        (tmp_path / name / "note.txt").touch()
        assert len(inventory.pictures(tmp_path / name)) == 1
    assert inventory.left_out() == ["2 files are no pictures: 2 .txt"]


UNREADABLE = """
import os, sys
from pathlib import Path
from cvgssl.images.scan import load_dataset
from cvgssl.images.listing import list_pictures
from cvgssl.runtime.errors import UserError

os.setuid(65534)
try:
    list_pictures(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_folder_that_cannot_be_read_stops_the_job() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        picture(folder / "a/0.png")
        (folder / "a").chmod(0)
        ran = subprocess.run(
            [sys.executable, "-c", UNREADABLE, name], capture_output=True, text=True, check=True
        )
    assert ran.stdout.startswith(f"{folder / 'a'}: the folder cannot be read (Permission denied)")


def test_class_names_that_are_no_utf8_are_refused_and_reported(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xc1\xd1")
    try:
        for label in (odd, "b"):
            for i in range(2):
                picture(tmp_path / label / f"{i}.png")
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    with pytest.raises(UserError, match=r"the class name \\xc1\\xd1 has bytes that are no UTF-8"):
        load_dataset(tmp_path)
    report = check_data(tmp_path)
    assert report.spoiled and r"\xc1\xd1" in report.counts
    (finding,) = [item for item in report.findings if item.kind == "folder_name"]
    assert finding.items == [[r"\xc1\xd1"]]
