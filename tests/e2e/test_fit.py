"""`cvgssl fit` as a user runs it: choose, label, fit, classify new pictures."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = "tf_efficientnet_lite0,image_size=64"


def test_choose_label_fit_and_predict(
    command: Command, steel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    done = command("select", steel, "--encoder", SMALL, "--budget", "18", "--out", "chosen")
    assert done.returncode == 0, done.stderr
    assert f"  cvgssl fit {steel} --encoder {SMALL} --labels chosen/selection.csv " in done.stdout
    chosen = tmp_path / "chosen/selection.csv"
    with chosen.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    with chosen.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *([name, name.split("/")[1]] for name, _ in rows)])

    words = ("fit", steel, "--encoder", SMALL, "--labels", chosen, "--out", "runs/fit")
    done = command(*words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "auto on 18 labelled and 24 unlabelled train pictures, 6 classes" in done.stdout
    setting = "(18, semi-supervised, each classified independently; nothing was learned from them)"
    assert setting in done.stdout
    summary = json.loads((tmp_path / "runs/fit/summary.json").read_text())
    assert f"macro-recall {summary['test']['macro_recall']:.2f} %" in done.stdout
    assert "guessing among 6 classes has a macro-recall of 16.67 %" in done.stdout
    assert summary["test"]["accuracy"] > 60

    words = ("predict", "runs/fit", steel / "test", "--unknown", "--csv", "p.csv")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["path", "answer", "class", "probability", *summary["classes"]]
    right = sum(row[2] == Path(row[0]).parent.name for row in rows)
    assert 100 * right / len(rows) == pytest.approx(summary["test"]["accuracy"])
    assert {row[1] for row in rows} <= {*summary["classes"], "unknown", "not sure"}


@pytest.mark.parametrize("is_right", [True, False])
def test_without_test_pictures_the_labels_tell_how_good_it_is(
    command: Command, steel: Path, tmp_path: Path, is_right: bool
) -> None:
    """Where labels have nothing to do with the pictures it says that it shows nothing."""
    rows = []
    classes = sorted(path.name for path in (steel / "train").iterdir())
    for place, label in enumerate(classes):
        for number, path in enumerate(sorted((steel / "train" / label).iterdir())[:4]):
            given = label if is_right else classes[(place + number) % len(classes)]
            rows.append((f"{label}/{path.name}", given))
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    words = ("--class-folders", "false", "--labels", "labels.csv", "--out", "few")
    done = command("fit", steel / "train", "--encoder", SMALL, *words)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "few/summary.json").read_text())
    assert summary["test"] is None and summary["held_out"]["held_out"] == 24
    counted = f"no labelled test pictures; {summary['held_out']['right']} of 24 labels are"
    assert counted in done.stdout
    assert (summary["held_out"]["right"] > 12) == is_right
    assert ("this does not show that it is better than guessing" in done.stdout) != is_right


def test_mistakes_are_lines_and_no_traceback(command: Command, steel: Path, tmp_path: Path) -> None:
    done = command(
        "fit", steel, "--labels", "a.csv", "--shot", "1", "--pooling", "cls", "--layers", "0"
    )
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith("cvgssl fit: --") for line in lines)
    assert list(tmp_path.iterdir()) == []
