import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from cvgssl.recognizer.predict import predict

Command = Callable[..., CompletedProcess[str]]


def test_table_csv_and_json_agree_with_the_python_call(
    run_folder: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    expected = predict(run_folder, [pictures])
    done = command("predict", run_folder, "--csv", "out/p.csv", pictures, "--json", "-")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "p.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "class", "probability", "crazing", "夹杂", "red, iron"]
    objects = json.loads(done.stdout)
    assert len(rows) == len(objects) == len(expected) == 7
    for row, entry, prediction in zip(rows, objects, expected, strict=True):
        assert row[0] == entry["path"] == str(prediction.path)
        assert row[1] == entry["class"] == prediction.predicted_class
        assert abs(float(row[2]) - prediction.probability) < 1e-5
        assert abs(entry["probability"] - prediction.probability) < 1e-5
        np.testing.assert_allclose(list(map(float, row[3:])), prediction.probabilities, atol=1e-5)
        assert list(entry["probabilities"]) == list(prediction.classes)
        listed = list(entry["probabilities"].values())
        np.testing.assert_allclose(listed, prediction.probabilities, atol=1e-5)
    assert "7 pictures: " in done.stderr
    assert done.stderr.splitlines()[0].endswith("written to out/p.csv")
    done = command("predict", run_folder, "--csv", "out/p.csv", pictures)
    assert "written to out/p.csv, in place of the file that was there\n" in done.stderr


def test_parquet_has_the_numbers_of_json_lines(
    run_folder: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/gr\xfcn.bmp"))
    odd.write_bytes((pictures / "gray_0.bmp").read_bytes())
    done = command(
        "predict", run_folder, pictures, odd, "--parquet", "out/p.parquet", "--jsonl", "p.jsonl"
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert parquet.read_table(tmp_path / "out" / "p.parquet").to_pylist() == [
        json.loads(line) for line in lines
    ]
    assert len(lines) == 8
    for words in (["-"], ["/dev/null"], ["p.parquet", "--sort-into", "sorted"]):
        done = command("predict", run_folder, pictures, "--parquet", *words)
        assert done.returncode == 2 and "--parquet" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_table(run_folder: Path, pictures: Path, command: Command) -> None:
    done = command("predict", run_folder, pictures / "gray_0.bmp")
    header, row = done.stdout.splitlines()
    (prediction,) = predict(run_folder, [pictures / "gray_0.bmp"])
    (_, first), (second, p), _ = prediction.ranked()
    assert header.split() == ["path", "class", "probability", "runner-up"]
    assert row.startswith(f"{pictures / 'gray_0.bmp'}  {prediction.predicted_class}")
    assert f"{100 * first:.1f} %" in row and row.endswith(f"{second} {100 * p:.1f} %")


def test_mistakes_write_nothing_and_come_together(
    run_folder: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "p.csv").write_text("yesterday's")
    done = command("predict", run_folder, pictures, "bad.png", "--csv", "p.csv")
    assert done.returncode == 2 and done.stdout == ""
    assert "bad.png: " in done.stderr and "--skip-corrupt" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "p.csv"]
    assert (tmp_path / "p.csv").read_text() == "yesterday's"

    done = command("predict", run_folder, "--batch-size", "0", "--draw", "0")
    assert done.returncode == 2
    assert "--batch-size 0" in done.stderr and "--draw 0" in done.stderr

    done = command("predict", run_folder)
    assert done.returncode == 2 and "PICTURES" in done.stderr


def test_file_names_that_are_not_unicode(
    run_folder: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    odd = bytes(tmp_path) + b"/gr\xfcn,1.bmp"
    Path(odd.decode("utf-8", "surrogateescape")).write_bytes((pictures / "gray_0.bmp").read_bytes())
    done = command("predict", run_folder, ".", "--csv", "p.csv", "--json", "p.json")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1][0] == r"gr\xfcn,1.bmp"
    assert json.loads((tmp_path / "p.json").read_text())[0]["path"] == r"gr\xfcn,1.bmp"


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_a_line_for_each_picture_whatever_its_name(
    run_folder: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("two\nlines.bmp", "a\ttab.bmp"):
        (folder / name).write_bytes((pictures / "gray_0.bmp").read_bytes())
    (folder / "not\nsound.png").write_text("no picture")
    done = command("predict", run_folder, "new", "--sort-into", "sorted")
    assert done.returncode == 2
    first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert [first[0], second[0]] == [r"new/a\ttab.bmp", r"new/two\nlines.bmp"]
    assert len(first) == len(second) == 4
    assert done.stderr.splitlines()[0].startswith(r"cvgssl predict: new/not\nsound.png: ")
    done = command("predict", run_folder, "new", "--sort-into", "sorted", "--skip-corrupt")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 0
    assert done.stderr.splitlines()[0].startswith(r"new/not\nsound.png: ")
