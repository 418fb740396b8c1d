"""`cvgssl select` as a user runs it: choose, label, choose more, train."""

import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.images.dataset import picture_names
from cvgssl.images.scan import load_dataset

Command = Callable[..., subprocess.CompletedProcess[str]]


def rows_of(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def fill(path: Path, every: int = 1) -> None:
    """Label each `every`-th picture by its folder, as a person would by looking."""
    head, *rows = rows_of(path)
    filled = [
        [name, name.split("/")[1] if i % every == 0 else ""] for i, (name, _) in enumerate(rows)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows([head, *filled])  # as some spreadsheets do


@pytest.fixture(scope="module")
def features(steel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coarse pixels as features: enough to choose by."""
    dataset = load_dataset(steel)
    names, labels, splits, values = [], [], [], []
    for split, part in (("train", dataset.train), ("test", dataset.test)):
        names += picture_names(part, dataset.root)
        labels += part.labels.tolist()
        splits += [split] * len(part)
        values += [np.asarray(Image.open(path).resize((6, 6))).ravel() / 255 for path in part.paths]
    path = tmp_path_factory.mktemp("features") / "steel.npz"
    table = FeatureTable(
        np.array(values, dtype=np.float32),
        tuple(names),
        np.array(labels),
        tuple(splits),
        dataset.train.classes,
        {"data": str(steel), "encoder": "pixels"},
    )
    save_features(table, path)
    return path


def test_choose_label_choose_more_and_train(
    command: Command, features: Path, steel: Path, tmp_path: Path
) -> None:
    done = command("select", features, "--budget", "12", "--pictures", steel, "--out", "first")
    assert (done.returncode, done.stderr) == (0, "")
    assert "chosen: 12 of 42 train pictures by medoids" in done.stdout
    assert "  cvgssl finetune DATA --labels first/selection.csv  " in done.stdout
    first = tmp_path / "first/selection.csv"
    head, *rows = rows_of(first)
    assert head == ["path", "label"]
    assert len({name for name, _ in rows}) == 12
    assert all((steel / name).is_file() and name.startswith("train/") for name, _ in rows)
    assert {label for _, label in rows} == {""}
    facts = json.loads((tmp_path / "first/selection.json").read_text())
    assert [one["path"] for one in facts["chosen"]] == [name for name, _ in rows]
    assert facts["features"]["encoder"] == "pixels"
    with Image.open(tmp_path / "first/selection.png") as sheet:
        assert sheet.height > 2 * 120  # two rows

    fill(first, every=2)
    done = command("select", features, "--budget", "24", "--labels", first, "--out", "second")
    assert (done.returncode, done.stderr) == (0, "")
    second = tmp_path / "second/selection.csv"
    _, *more = rows_of(second)
    assert [row for row in more if row[1]] == [row for row in rows_of(first, ";")[1:] if row[1]]
    assert len({name for name, _ in more}) == 30

    words = ("linear", steel, "--arch", "test_resnet", "--image-size", "32", "--epochs", "1")
    done = command(*words, "--labels", second, "--out", "run")
    assert done.returncode == 2
    assert f"--labels {second} line 8: {more[6][0]} has no label" in done.stderr
    fill(second)
    done = command(*words, "--labels", second, "--out", "run")
    assert done.returncode == 0, done.stderr
    (support,) = json.loads((tmp_path / "run/draws.json").read_text())["supports"]
    assert sorted(name for names in support.values() for name in names) == sorted(
        n for n, _ in more
    )


def test_a_folder_of_pictures_is_embedded_first(
    command: Command, steel: Path, teacher_file: Path, tmp_path: Path
) -> None:
    words = ("select", steel, "--encoder", f"test_vit={teacher_file}", "--budget", "6")
    for out in ("one", "two"):
        done = command(*words, "--out", out)
        assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path / "one/selection.csv")) == 7
    for name in ("selection.csv", "selection.json", "selection.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pictures_without_class_folders(
    command: Command, features: Path, steel: Path, tmp_path: Path
) -> None:
    table = load_features(features)
    unsorted = replace(table, classes=(), labels=np.full(len(table), -1))
    save_features(unsorted, tmp_path / "unsorted.npz")
    labels = tmp_path / "labels.csv"
    rows = [f"{name},{label}\n" for name, label in zip(table.names, ("dent", "dant"), strict=False)]
    labels.write_text("".join(["path,label\n", *rows]))
    words = ("--budget", "3", "--pictures", steel, "--labels", labels, "--out", "new")
    done = command("select", "unsorted.npz", *words)
    assert done.returncode == 0
    assert "labels.csv: 'dant' (1) and 'dent' (1) are almost the same name" in done.stderr
    assert "cvgssl fit DATA" in done.stdout and "cvgssl finetune" not in done.stdout


def test_pictures_that_are_elsewhere(command: Command, features: Path, tmp_path: Path) -> None:
    done = command("select", features, "--budget", "3", "--pictures", tmp_path, "--out", "new")
    assert done.returncode == 0, done.stderr
    assert "no contact sheet" in done.stdout
    assert "--pictures" in done.stdout
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "selection.csv",
        "selection.json",
    ]


def test_mistakes_leave_nothing_behind(command: Command, features: Path, tmp_path: Path) -> None:
    def fails(*words: str | Path) -> str:
        done = command("select", *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "--budget 50: 42 of 42" in fails(features, "--budget", "50")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    message = fails(
        features, "--budget", "0", "--out", "full", "--encoder", "tf_efficientnet_lite0"
    )
    assert "--budget 0" in message
    assert "--out full: exists" in fails(features, "--budget", "1", "--out", "full")
    assert "--encoder" in fails(features, "--budget", "1", "--encoder", "tf_efficientnet_lite0")
    assert "--labels none.csv: no such file" in fails(
        features, "--budget", "1", "--labels", "none.csv"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
