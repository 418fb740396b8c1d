"""`cvgssl data import` as a user runs it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Command = Callable[..., subprocess.CompletedProcess[str]]


def neu_cls(folder: Path, numbers: range) -> None:
    """The whole distribution in small: six codes, flat, every picture different."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for code in ("Cr", "In", "Pa", "PS", "RS", "Sc"):
        for number in numbers:
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{code}_{number}.bmp")


def test_whole_distribution(command: Command, tmp_path: Path) -> None:
    neu_cls(tmp_path / "NEU-CLS", range(1, 301))
    ran = command("data", "import", "neu-cls", "NEU-CLS", "neu")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-4].split() == ["all", "1439", "360"]
    assert "equal to another picture of the set, left out: 1 (NEU-CLS/Pa_105.bmp)" in ran.stdout
    assert len(list((tmp_path / "neu/train/scratches").iterdir())) == 240
    again = command("data", "import", "neu-cls", "NEU-CLS", "neu")
    assert again.returncode == 2
    assert again.stderr == "cvgssl data import: OUT neu: not empty; name a new folder or empty it\n"


def test_incomplete_distribution_is_imported_and_told(command: Command, tmp_path: Path) -> None:
    neu_cls(tmp_path / "some", range(200, 250))
    ran = command("data", "import", "neu-cls", "some", "neu")
    assert ran.returncode == 1
    assert "incomplete: 1499 pictures of the split list were not found" in ran.stdout
    assert len(list((tmp_path / "neu/test/crazing").iterdir())) == 9


def test_import_then_check(command: Command, tmp_path: Path) -> None:
    neu_cls(tmp_path / "some", range(235, 246))
    command("data", "import", "neu-cls", "some", "neu")
    ran = command("data", "check", "neu")
    assert ran.returncode == 0, ran.stdout
    assert "66 pictures: nothing spoils a result" in ran.stdout


def test_wrong_use_is_told_at_once(command: Command) -> None:
    ran = command("data", "import", "neu", "a", "b", "--crop-margin", "-1", "--boxes", "cut")
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 3
    assert "Traceback" not in ran.stderr
