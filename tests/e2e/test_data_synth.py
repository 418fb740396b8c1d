import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
