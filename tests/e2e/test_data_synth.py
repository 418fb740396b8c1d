import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cvgssl.cli import data_synth
from cvgssl.runtime.errors import UserError

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_pictures_are_written_and_the_count_is_told(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "new" / "steel"
    words = ("--per-class", "3", "--seed", "5", "--image-size", "64")
    done = command("data", "synth", target, *words)
    assert done.returncode == 0, done.stderr
    assert "18 pictures of 6 classes" in done.stdout
    assert len(list((target / "train").glob("*/*.bmp"))) == 12
    assert len(list((target / "test").glob("*/*.bmp"))) == 6


def test_a_full_folder_and_impossible_options_are_refused_in_a_line(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    full = command("data", "synth", tmp_path, "--per-class", "2", "--test-fraction", "0.5")
    assert full.returncode == 2
    assert str(tmp_path) in full.stderr
    assert "Traceback" not in full.stderr
    wrong = command("data", "synth", "new", "--per-class", "1", "--format", "jpg")
    assert wrong.returncode == 2
    assert "--per-class" in wrong.stderr
    assert "--format" in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--good-share", "1.5"), "--good-share 1.5"),
        (("--good-share", "0.9", "--parts", "100"), "use --parts 300 or more"),
        (("--good-share", "0.9", "--per-class", "30"), "--per-class: leave it out"),
        (("--parts", "100"), "--parts needs --good-share"),
        (("--defects-per-picture", "2"), "--defects-per-picture needs a --defect-area"),
    ],
)
def test_impossible_plants_are_refused_in_a_line(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(UserError) as refused:
        data_synth.run([str(tmp_path / "plant"), *words], "cvgssl data synth")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_plant_tells_how_many_pictures_each_class_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / "plant"), "--good-share", "0.15", "--parts", "36", "--image-size", "32"]
    assert data_synth.run(words, "cvgssl data synth") == 0
    total, classes = capsys.readouterr().out.splitlines()
    assert "36 pictures of 7 classes" in total
    assert "5 good, " in classes


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interruption_leaves_no_half_written_folder(tmp_path: Path) -> None:
    words = ["data", "synth", str(tmp_path / "steel"), "--per-class", "2000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cvgssl", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.rglob("*.bmp")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
