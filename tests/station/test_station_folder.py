"""A station's folder: one station at a time, one that is damaged, cookies of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.station.config import StationConfig
from cvgssl.station.events import LOG
from cvgssl.station.serve import _SUBFOLDERS, own_folder
from tests.station.conftest import Running, Start, Visitor


def refused(python: str, folder: Path, *words: str) -> str:
    """What a station says that does not start."""
    command = [python, "-m", "cvgssl", "station", folder, "--port", "0", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_one_folder_has_one_station(start: Start, python: str, tmp_path: Path) -> None:
    folder = tmp_path / "station"
    with start(folder) as running:
        said = refused(python, folder)
        assert f"station {folder}: is in use by process " in said
        running.process.kill()
        running.process.wait()
    with start(folder) as again:
        assert again.ask("GET", "/health").status == 200
        assert again.end() == 0


@pytest.fixture
def two_versions(start: Start, recognizer: Path, tmp_path: Path) -> Path:
    other = Path(shutil.copytree(recognizer, tmp_path / "other"))
    (other / "note.txt").write_text("another file")
    folder = tmp_path / "station"
    for model in (recognizer, other):
        with start(folder, "--recognizer", model) as running:
            assert running.end() == 0
    return folder


def test_a_live_version_that_is_damaged_is_left_by_one_click(
    start: Start, two_versions: Path, python: str, steel: Path
) -> None:
    shutil.rmtree(two_versions / "models" / "0002")
    said = refused(python, two_versions, "--headless", "true")
    assert "version 2: its files are not those that were added; put back a copy of" in said
    assert "--unknown" not in said
    data = next((steel / "test").glob("*/*")).read_bytes()
    with start(two_versions) as running:
        why = "version 2 cannot be used; make another one live"
        ready = running.ask("GET", "/ready")
        assert (ready.status, ready.json) == (503, {"status": why})
        assert running.predict(data).json == {"error": why}
        visitor = Visitor(running)
        visitor.page("/models")
        versions = visitor.get("/models/state").json["versions"]
        assert [bool(each["problem"]) for each in versions] == [True, False]
        answer = visitor.post("/models/live", {"version": 2})
        assert answer.status == 422 and "put back a copy of models/0002" in answer.json["error"]
        assert visitor.post("/models/live", {"version": 1}).status == 200
        assert running.ask("GET", "/ready").status == 200
        assert running.predict(data).json["version"] == 1


def cookies(running: Running, **headers: str) -> str:
    return running.ask("GET", "/start", Accept="text/html", **headers).headers["set-cookie"]


def test_two_stations_of_one_host_have_cookies_of_their_own(start: Start, tmp_path: Path) -> None:
    with start(tmp_path / "one") as first, start(tmp_path / "two") as second:
        names = {cookies(each).partition("=")[0] for each in (first, second)}
        assert len(names) == 2
        assert "secure" not in cookies(first).lower()
        assert "secure" in cookies(first, X_Forwarded_Proto="https").lower()
        assert first.end() == 0
    with start(tmp_path / "one") as again:
        assert cookies(again).partition("=")[0] in names


@pytest.mark.parametrize("name", _SUBFOLDERS)
def test_a_folder_of_something_else_is_refused_and_stays(
    python: str, tmp_path: Path, name: str
) -> None:
    other = tmp_path / name / "crazing" / "1.bmp"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"picture")
    said = refused(python, tmp_path)
    assert f"{tmp_path}: has a folder {name} and no station.sqlite" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


def test_a_mounted_folder_that_is_empty_is_none_of_something_else(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "station" / "pictures" / "lost+found").mkdir(parents=True)
    with start(tmp_path / "station") as running:
        assert running.ask("GET", "/health").status == 200
        made = {path.name for path in (tmp_path / "station").iterdir() if path.is_dir()}
        assert made <= set(_SUBFOLDERS)


def test_a_log_that_may_not_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOG).touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(UserError, match=rf"{LOG}: this user may not write it"):
        own_folder(StationConfig(folder=tmp_path))
