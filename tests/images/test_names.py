"""What people write for a picture's path, and how it is found."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvgssl.images import names
from cvgssl.images.names import (
    FilesBelow,
    KnownNames,
    comparable,
    from_text_form,
    is_utf8,
    text_form,
)
from cvgssl.runtime.errors import UserError

NAME = "train/crack/prüf 1.png"
DECOMPOSED = unicodedata.normalize("NFD", NAME)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "sets" / "steel"
    (root / "train/crack").mkdir(parents=True)
    (root / NAME).touch()
    return root


def test_every_spelling_leads_to_the_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    (data.parent / "link").symlink_to(data / "train")
    known = KnownNames([NAME, "train/crack/2.png"], Path("steel"))
    for written in (
        NAME,
        DECOMPOSED,
        f" {NAME} ",
        NAME.replace("/", "\\"),
        f"./{NAME}",
        "train//crack/./prüf 1.png",
        "train/pit/../crack/prüf 1.png",
        str(data / NAME),
        str(data / DECOMPOSED),
        f"steel/{NAME}",
        f"sets/steel/{NAME}",
        f"..\\sets\\steel\\{NAME}",
        f"../steel/{NAME}",
        "link/crack/prüf 1.png",
        str(data.parent / "link/crack/prüf 1.png"),
    ):
        assert known.find(written) == NAME, written


def test_other_pictures_are_not_taken_for_it(data: Path, tmp_path: Path) -> None:
    known = KnownNames([NAME], data)
    outside = tmp_path / "sets/other/crack/prüf 1.png"
    outside.parent.mkdir(parents=True)
    outside.touch()
    for written in ("", "crack/prüf 1.png", f"../{NAME}", f"../other/{NAME}", str(outside), "/"):
        assert known.find(written) is None, written
    assert KnownNames([NAME]).find(str(data / NAME)) is None


def test_bytes_that_are_no_utf8_go_through_a_text_file() -> None:
    name = os.fsdecode(b"train/\xc1\xd1 \xc3\xa4.png")
    assert not is_utf8(name) and is_utf8(NAME)
    assert text_form(name) == "train/\\xc1\\xd1 ä.png"
    assert from_text_form(text_form(name)) == name
    assert KnownNames([name]).find(text_form(name)) == name


@given(st.binary(max_size=12).filter(lambda name: b"\\" not in name))
def test_text_form_comes_back(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    text = text_form(name)
    text.encode("utf-8")
    assert from_text_form(text) == name


def test_files_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        folder = tmp_path / form
        actual = folder / unicodedata.normalize(form, NAME)
        actual.parent.mkdir(parents=True)
        actual.touch()
        files = FilesBelow(folder)
        for written in (
            unicodedata.normalize(other, NAME),
            NAME.replace("/", "\\"),
            f"{form}/{NAME}",
            str(folder / unicodedata.normalize(other, NAME)),
        ):
            assert files.find(written) == actual, written
        assert files.find("train/crack/grün.png") is None
        assert files.find("x" * 5000) is None
        assert files.find("train/crack") is None


def test_only_names_that_can_be_paths_are_composed() -> None:
    assert comparable("e\u0301/a.png") == "\u00e9/a.png"
    endless = "a" + "\u0323\u0301" * 10**6  # composing it would take minutes
    assert comparable(endless) == endless


def test_blanks_around_a_known_name_are_no_part_of_what_is_written() -> None:
    known = KnownNames(["train/a/1.png ", "train/a/2.png", "train/a/2.png "])
    assert known.find("train/a/1.png") == known.find("train/a/1.png ") == "train/a/1.png "
    assert known.find("train/a/2.png") == "train/a/2.png", "the name itself comes first"


def test_a_list_for_another_folder_is_given_up_early(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_MOST_MISSING", 3)
    known, files = KnownNames([NAME], data), FilesBelow(data)
    for place in (known, files):
        for number in (1, 2):
            assert place.find(f"other/{number}.png") is None
            assert place.find(NAME) is not None
        with pytest.raises(UserError, match=r"^3 paths and perhaps more .* is other/1\.png$"):
            place.find("other/3.png")
