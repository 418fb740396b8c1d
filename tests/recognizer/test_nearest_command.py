"""`predict --nearest`: labelled pictures beside the answers, in every kind of output."""

import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from tests.conftest import Command, MadeOnce


@pytest.fixture(scope="module")
def fitted(made_once: MadeOnce, steel: Path, teacher_file: Path) -> Path:
    def make(to: Path) -> None:
        encoder = (f"test_vit={teacher_file}",)
        fit(FitConfig(data=steel, encoder=encoder, image_size=32, shot=1, out=to))

    return made_once("nearest", make)


def test_a_labelled_picture_is_most_like_itself(
    fitted: Path, steel: Path, tmp_path: Path, command: Command
) -> None:
    with (fitted / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    files = [steel / name for name in labels]
    words = ("--nearest", "5", "--jsonl", "a.jsonl", "--csv", "a.csv", "--parquet", "a.parquet")
    done = command("predict", fitted, *files, *words)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    most = min(5, len(labels))
    for (name, label), entry in zip(labels.items(), told, strict=True):
        first, *others = entry["nearest"]
        assert first == {"name": name, "label": label, "similarity": 1.0}
        assert len(others) == most - 1
        similarities = [each["similarity"] for each in entry["nearest"]]
        assert similarities == sorted(similarities, reverse=True)
        assert all(labels[each["name"]] == each["label"] for each in others)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["nearest 1"] for row in rows] == list(labels)
    assert [row[f"nearest {most} class"] for row in rows] == [
        entry["nearest"][-1]["label"] for entry in told
    ]
    assert f"nearest {most + 1}" not in rows[0] and None not in rows[0]
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["nearest"] for row in table] == [entry["nearest"] for entry in told]
    shown = command("predict", fitted, files[0], "--nearest", "1")
    assert "most like" in shown.stdout and "1.00)" in shown.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_beside_an_alarm(fitted: Path, steel: Path, tmp_path: Path, python: str) -> None:
    shutil.copytree(steel / "test", tmp_path / "line")
    words = ["predict", fitted, "--watch", "line", "--poll-seconds", "0.05", "--nearest", "1"]
    words += ["--jsonl", "a.jsonl", "--alarm", "line.alarm"]
    process = subprocess.Popen(
        [python, "-m", "cvgssl", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    count = len(list((tmp_path / "line").glob("*/*")))
    assert all(process.stdout.readline() for _ in range(count))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    told = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(told) == count and all(len(entry["nearest"]) == 1 for entry in told)
    with contextlib.closing(sqlite3.connect(tmp_path / "line.alarm")) as rows:
        assert rows.execute("select count(*) from pictures").fetchone() == (count,)


def test_what_cannot_be(fitted: Path, steel: Path, command: Command) -> None:
    done = command("predict", fitted, steel, "--nearest", "6")
    assert done.returncode == 2 and "--nearest" in done.stderr and done.stderr.count("\n") == 1
