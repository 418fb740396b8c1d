"""`cvgssl data split` as a user runs it."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cvgssl.images.scan import load_dataset

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name, count in (("scratches", 10), ("压入 氧化皮", 4)):
        for i in range(count):
            path = tmp_path / "mill" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * i).save(path)
    return tmp_path / "mill"


def test_split_is_written_shown_and_usable(command: Command, classes: Path, tmp_path: Path) -> None:
    words = ("data", "split", classes, "--out", "lists/split.csv", "--test-fraction", "0.3")
    done = command(*words, "--seed", "5")
    assert (done.returncode, done.stderr) == (0, "")
    table = [line.split() for line in done.stdout.splitlines()]
    assert ["scratches", "7", "3"] in table
    assert ["压入", "氧化皮", "3", "1"] in table
    assert ["all", "10", "4"] in table
    assert "split written to lists/split.csv" in done.stdout

    file = tmp_path / "lists/split.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 14
    dataset = load_dataset(file)
    assert dataset.train.counts().tolist() == [7, 3]
    assert dataset.test.counts().tolist() == [3, 1]

    first = file.read_bytes()
    command(*words, "--seed", "5")
    assert file.read_bytes() == first
    command(*words, "--seed", "6")
    assert file.read_bytes() != first


def test_mistakes(command: Command, classes: Path, tmp_path: Path) -> None:
    def fails(*words: str | Path) -> str:
        done = command("data", "split", *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr

    message = fails(classes, "--test-fraction", "1.5", "--seed", "-1")
    assert "--test-fraction 1.5" in message
    assert "--seed -1" in message
    assert "no such folder" in fails(tmp_path / "nowhere")
    assert "is a folder; name a file" in fails(classes, "--out", tmp_path)
    assert "DATA is needed" in fails()
    for split in ("train", "test"):
        (tmp_path / "done" / split).mkdir(parents=True)
    assert "already split into train and test" in fails(tmp_path / "done")
    assert not (tmp_path / "split.csv").exists()


def test_parts_stay_on_one_side(command: Command, tmp_path: Path) -> None:
    for label, parts in (("pits", 6), ("rust", 4), ("rare", 1)):
        for part in range(parts):
            for number in range(3):
                path = tmp_path / "mill" / label / f"{label}{part}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 10 * part + number).save(path)
    done = command("data", "split", tmp_path / "mill", "--group-by", r"^(\w+)_\d", "--seed", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "11 parts, the largest with 3 pictures" in done.stdout
    assert "no test pictures of class rare: train needs its only part" in done.stdout
    dataset = load_dataset(tmp_path / "split.csv")
    sides = [{path.name.split("_")[0] for path in t.paths} for t in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1]
    assert dataset.test.counts().tolist() == [6, 0, 3]
    done = command("data", "split", tmp_path / "mill", "--group-by", "(")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--group-by (: no regular expression" in done.stderr


def test_twins_stay_on_one_side(command: Command, steel: Path, tmp_path: Path) -> None:
    for label in ("crazing", "patches"):
        for path in sorted((steel / "train" / label).iterdir())[:6]:
            target = tmp_path / "mill" / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as picture:
                picture.save(target)
                picture.point(lambda value: value * 0.6).save(target.with_suffix(".png"))
    data = tmp_path / "mill"
    checked = command("data", "check", data)
    assert checked.returncode == 1
    assert "pictures with a near twin: 24 of 24 (12 pairs)" in checked.stdout
    assert f"cvgssl data split {data} --group-by twins" in checked.stdout
    done = command("data", "split", data, "--group-by", "twins")
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 parts, the largest with 2 pictures" in done.stdout
    assert "near twin" not in command("data", "check", tmp_path / "split.csv").stdout
    command("data", "split", data, "--out", "plain.csv", "--seed", "1")
    spoiled = command("data", "check", tmp_path / "plain.csv")
    assert spoiled.returncode == 1, spoiled.stdout
    assert "test pictures with a near twin in train" in spoiled.stdout
    assert "cvgssl data split PICTURES_FOLDER --group-by twins" in spoiled.stdout


def test_a_split_that_separates_exposures_is_made_anew(command: Command, tmp_path: Path) -> None:
    data = tmp_path / "mill"
    for label in ("pits", "rust"):
        for part in range(6):
            for exposure, split in enumerate(("train", "test")):
                path = data / split / label / f"part{part}_{exposure}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 30 * part + exposure).save(path)
    refused = command("data", "split", data)
    assert refused.returncode == 2
    assert "already split into train and test; use it as it is" in refused.stderr
    done = command("data", "split", data, "--group-by", r"(part\d)_")
    assert (done.returncode, done.stderr) == (0, "")
    assert "put together and split again" in done.stdout
    dataset = load_dataset(tmp_path / "split.csv")
    sides = [{path.stem[:5] for path in table.paths} for table in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1]
    assert dataset.test.counts().tolist() == [4, 4]
    again = command("data", "split", tmp_path / "split.csv", "--group-by", "twins")
    assert again.returncode == 2
    assert "name its folder of pictures" in again.stderr
