"""`cvgssl data check` as a user runs it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_generated_steel_is_clean(command: Command, steel: Path, tmp_path: Path) -> None:
    ran = command("data", "check", steel, "--json", tmp_path / "out/found.json")
    assert ran.returncode == 0, ran.stderr
    assert "60 pictures: nothing spoils a result" in ran.stdout
    assert ran.stdout.count("crazing") == 1
    told = json.loads((tmp_path / "out/found.json").read_text())
    assert told["spoiled"] is False
    assert told["pictures"] == 60


@pytest.fixture
def leaky(steel: Path, tmp_path: Path) -> Path:
    """The generated steel with a training picture in test/ and a cut file."""
    data = tmp_path / "Prüfung 1"
    shutil.copytree(steel, data)
    first = sorted((data / "train/crazing").iterdir())[0]
    shutil.copy(first, data / "test/crazing/again.png")
    (data / "test/patches/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return data


def test_spoiled_data_exits_with_1(command: Command, leaky: Path) -> None:
    ran = command("data", "check", leaky)
    assert ran.returncode == 1
    assert "in train and in test: 1 picture" in ran.stdout
    assert "1 file cannot be read" in ran.stdout
    assert "replace or remove files that cannot be read; --skip-corrupt" in ran.stdout
    assert "a result would be spoiled" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_json_to_stdout_is_json_alone(command: Command, leaky: Path) -> None:
    ran = command("data", "check", leaky, "--json", "-")
    assert ran.returncode == 1
    told = json.loads(ran.stdout)
    kinds = {finding["kind"]: finding for finding in told["findings"]}
    assert told["spoiled"] is True
    assert kinds["unreadable"]["items"][0][0] == "test/patches/cut.jpg"
    assert kinds["train_test_overlap"]["items"][0][1] == "test/crazing/again.png"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none",), "none: no such folder"),
        ((), "DATA is needed"),
        ((".", "--jsno", "x"), "--jsno: no such option"),
    ],
)
def test_wrong_use_exits_with_2(command: Command, words: tuple[str, ...], message: str) -> None:
    ran = command("data", "check", *words)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert ran.stdout == ""


def test_all_findings_are_kept_though_nobody_reads_the_table(
    python: str, steel: Path, tmp_path: Path
) -> None:
    read, gone = os.pipe()
    os.close(read)
    words = [python, "-m", "cvgssl", "data", "check", str(steel), "--json", "found.json"]
    ran = subprocess.run(words, stdout=gone, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(gone)
    assert (ran.returncode, ran.stderr) == (141, b"")
    assert json.loads((tmp_path / "found.json").read_text())["pictures"] == 60
