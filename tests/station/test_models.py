"""Versions: copied whole, known again, one of them live; a killed copy costs nothing."""

import os
import sqlite3
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.station.events import EventLog
from cvgssl.station.models import Models


@pytest.fixture
def models(tmp_path: Path) -> Models:
    (tmp_path / "station").mkdir()
    return Models(tmp_path / "station", EventLog(tmp_path / "station" / "log"))


def exported(folder: Path, content: bytes, suffix: str = ".onnx") -> Path:
    folder.mkdir()
    (folder / f"a{suffix}").write_bytes(content)
    return folder / f"a{suffix}"


def test_numbers_and_the_live_one(models: Models, tmp_path: Path) -> None:
    assert models.live() is None and models.versions() == []
    first = models.add(exported(tmp_path / "x", b"1"), "anna")
    second = models.add(exported(tmp_path / "y", b"2"), "anna")
    assert (first.number, second.number) == (1, 2)
    assert second.path.read_bytes() == b"2" and second.path.name == "recognizer.onnx"
    models.go_live(2, "anna")
    models.go_live(1, "bo")
    assert models.live() == first and models.versions() == [first, second]
    with pytest.raises(UserError, match=r"version 3: there is none; there are 1 to 2"):
        models.go_live(3, "bo")
    assert [event.who for event in models.log.events("model live")] == ["anna", "bo"]


def test_the_same_content_is_the_same_version(models: Models, tmp_path: Path) -> None:
    first = models.add(exported(tmp_path / "x", b"1"), "anna")
    assert models.add(exported(tmp_path / "y", b"1"), "bo") == first
    assert len(models.versions()) == 1


def test_files_for_openvino_stay_together(models: Models, tmp_path: Path) -> None:
    file = exported(tmp_path / "x", b"<net/>", ".xml")
    (tmp_path / "x" / "a.bin").write_bytes(b"weights")
    version = models.add(file, "anna")
    assert version.path.name == "recognizer.xml"
    assert version.path.with_suffix(".bin").read_bytes() == b"weights"
    (tmp_path / "x" / "a.bin").write_bytes(b"others")
    assert models.add(file, "anna").number == 2


def test_a_folder_is_copied_with_all_that_is_in_it(models: Models, recognizer: Path) -> None:
    version = models.add(recognizer, "anna")
    names = {path.relative_to(recognizer) for path in recognizer.rglob("*") if path.is_file()}
    copied = {path.relative_to(version.path) for path in version.path.rglob("*") if path.is_file()}
    assert copied == names and version.name == str(recognizer)


def test_what_was_left_by_a_kill_is_replaced(models: Models, tmp_path: Path) -> None:
    """Between the copy and its row in the log."""
    (models.folder / "0001").mkdir(parents=True)
    (models.folder / "0001" / "recognizer.onnx").write_bytes(b"of the killed one")
    version = models.add(exported(tmp_path / "x", b"1"), "anna")
    assert version.number == 1 and version.path.read_bytes() == b"1"


def test_names_whose_bytes_are_no_text(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"rou\xe9")
    try:
        file = exported(folder, b"1")
    except OSError:
        pytest.skip("this file system takes no such name")
    version = models.add(file, "anna")
    assert version.name.endswith("rou\\xe9/a.onnx") and version.path.read_bytes() == b"1"


@pytest.mark.parametrize(
    "facts", ['{"number": 1}', '{"number": "1", "name": "a", "file": "b", "sha256": "c"}', "[1]"]
)
def test_rows_that_no_station_writes(models: Models, facts: str) -> None:
    models.log.append("model added", "anna")
    rows = sqlite3.connect(models.log.path)
    rows.execute("drop trigger events_stay")
    rows.execute("update events set facts = ?", (facts,))
    rows.commit()
    rows.close()
    with pytest.raises(UserError, match="is damaged or no file of a station"):
        models.versions()
