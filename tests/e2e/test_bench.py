"""`cvgssl bench` as a user runs it: from a configuration, again, with mistakes, on outside data."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cvgssl.cli.main import main

Command = Callable[..., subprocess.CompletedProcess[str]]
Said = tuple[int, str, str]  # exit code, standard output, standard error
Here = Callable[..., Said]


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """`cvgssl bench WORDS...` in this process, and no other: that saves the seconds of a start."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> Said:
        capsys.readouterr()
        jobs = () if "--jobs" in words else ("--jobs", "1")
        code = main(["bench", *map(str, words), *jobs])
        return code, *capsys.readouterr()

    return call


DATA = "mill <2>"  # a name that HTML, LaTeX and file systems would stumble over
HEADS = ["nearest-mean", "propagation"]


def outside_features(path: Path, seed: int = 0) -> None:
    """What somebody else's program may write: values and names alone."""
    chance = np.random.default_rng(seed)
    names, values = [], []
    for place, label in enumerate(("R&D_dent", "pit$", "scratch")):
        for split, number in (("train", 9), ("test", 5)):
            names += [f"{split}/{label}/{i}.png" for i in range(number)]
            values.append(chance.normal(size=(number, 6)) + 2.0 * np.eye(3, 6)[place])
    np.savez(path, values=np.concatenate(values), names=np.array(names))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    outside_features(tmp_path / "outside.npz")
    for name in np.load(tmp_path / "outside.npz")["names"]:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30), 128, np.uint8)).save(path)
    options = {
        "features": [{"file": "outside.npz", "data": DATA, "pictures": "pictures"}],
        "heads": [*HEADS, {"head": "knn", "label": "knn of one", "neighbours": 1}],
        "settings": ["inductive", "semi-supervised", "transductive-dirichlet"],
        "shots": [1, 4, 10],
        "num_draws": 4,
        "jobs": 2,
        "out": "result",
    }
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(options))
    return path


def test_a_benchmark_from_a_configuration_and_again(
    config: Path, command: Command, here: Here, tmp_path: Path
) -> None:
    done = command("bench", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "18 cells computed, 0 found" in done.stderr
    assert "shot 10 left out: too few training pictures in 3 of 3 classes" in done.stderr
    assert f"{DATA}, outside, semi-supervised: Macro-recall" in done.stdout
    assert re.search(r"^propagation +\d+\.\d\d ± ", done.stdout, re.MULTILINE)
    assert "nearest-mean (labels alone)" in done.stdout
    out = tmp_path / "result"
    check_tables(out / "tables")
    check_page((out / "report.html").read_text(encoding="utf-8"))
    check_figures(out / "figures")

    page, cells = (out / "report.html").read_bytes(), sorted((out / "cells").rglob("*.json"))
    assert len(cells) == 18
    assert "0 cells computed, 18 found" in here("--config", config, "--jobs", "2")[2]
    assert (out / "report.html").read_bytes() == page

    cells[0].unlink()
    cells[1].write_text("{")
    assert "2 cells computed, 16 found" in here("--config", config)[2]
    assert strip_seconds((out / "report.html").read_text()) == strip_seconds(page.decode())

    outside_features(tmp_path / "outside.npz", seed=5)
    _, _, said = here("--config", config, "--heads", "nearest-mean", "--settings", "inductive")
    assert "2 cells computed, 0 found" in said, "other features: nothing may be reused"


def check_tables(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "results.csv").open(encoding="utf-8")))
    assert len(rows) == 18
    assert {row["data"] for row in rows} == {DATA}
    runs = list(csv.DictReader((folder / "draws.csv").open(encoding="utf-8")))
    assert len(runs) == 18 * 4
    for row in rows:
        keys = ("setting", "head", "shot")
        own = [float(run["macro_recall"]) for run in runs if all(run[k] == row[k] for k in keys)]
        assert float(row["macro_recall_mean"]) == pytest.approx(np.mean(own), abs=1e-3)
        assert (row["difference_mean"] == "") == (row["head"] == "nearest-mean")
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert markdown.count("\n## ") == 3, "each setting has a section"
    latex = (folder / "results.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}{lrr}") == latex.count(r"\end{tabular}") == 9
    assert "mill $<$2$>$" in latex


def check_page(text: str) -> None:
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text), "nothing from outside"
    assert DATA not in text
    assert "mill &lt;2&gt;" in text
    assert "R&amp;D_dent" in text
    assert text.count("data:image/svg+xml") == 3
    assert text.count("data:image/jpeg") == 1
    assert text.count("<table>") == text.count("</table>") >= 12
    assert len(text) < 1_500_000


def check_figures(folder: Path) -> None:
    for kind in ("curves", "map"):
        pictures = sorted(folder.glob(f"{kind}_*.png"))
        assert len(pictures) == len(list(folder.glob(f"{kind}_*.svg"))) == 3 - 2 * (kind == "map")
        for path in pictures:
            assert np.array(Image.open(path).convert("L")).std() > 5


def strip_seconds(page: str) -> str:
    """Without the times, which differ."""
    folded = re.compile(r"<details><summary>Seconds for.*?</details>", re.DOTALL)
    return re.sub(r"jobs: \d", "", folded.sub("", page))


def test_outside_features_need_no_configuration(here: Here, tmp_path: Path) -> None:
    outside_features(tmp_path / "theirs.npz")
    words = ("--heads", "ridge", "--shots", "2", "--num-draws", "3", "--settings", "transductive")
    code, out, said = here("--features", "theirs.npz", *words)
    assert code == 0, said
    draws = json.loads((tmp_path / "bench" / "draws" / "theirs" / "shot_2.json").read_text())
    assert [sorted(run) for run in draws["supports"]] == [["R&D_dent", "pit$", "scratch"]] * 3
    assert "theirs, theirs, transductive" in out


def test_all_mistakes_are_told_at_once(here: Here, tmp_path: Path) -> None:
    outside_features(tmp_path / "theirs.npz")
    (tmp_path / "wrong.yaml").write_text(
        yaml.safe_dump(
            {
                "features": ["theirs.npz", "absent.npz", {"fil": "x.npz"}],
                "heads": ["nearst-mean", "ridge", {"head": "knn", "neighbors": 3}],
                "settings": ["inductiv"],
                "shots": [0, 1],
                "preparation": "whitened",
            }
        )
    )
    code, _, said = here("--config", "wrong.yaml", "--draw", "3")
    assert code == 2
    for words in (
        "--features absent.npz: no such file",
        "fil: no such key",
        "--heads nearst-mean: no such head; there are nearest-mean, ",
        "knn has no parameter neighbors; it has neighbours",
        "--settings inductiv: ",
        "--shots 0: ",
        "--preparation whitened: ",
        "--draw: no such option",
    ):
        assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "bench").exists()


def test_files_that_do_not_fit_are_named(here: Here, tmp_path: Path) -> None:
    outside_features(tmp_path / "a.npz")
    values = np.load(tmp_path / "a.npz")["values"]
    names = np.load(tmp_path / "a.npz")["names"]
    np.savez(tmp_path / "b.npz", values=values[1:], names=names[1:])
    np.savez(tmp_path / "c.npz", values=values, names=[f"{n}.png" for n in range(len(names))])
    files = [{"file": f"{n}.npz", "data": "mill" if n != "c" else "c"} for n in "abc"]
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump({"features": files}))
    code, _, said = here("--config", "bench.yaml")
    assert code == 2
    assert "b.npz: other pictures or classes than a.npz, which is called mill too" in said
    assert "c.npz: fewer than two classes are labelled" in said
    code, _, said = here("--features", "a.npz", "--shots", "20", "30")
    assert code == 2
    assert "shot 20 left out" in said
    assert "shot 30 left out" in said


def test_a_head_that_fails_costs_only_its_own_cells(here: Here, tmp_path: Path) -> None:
    outside_features(tmp_path / "a.npz")
    heads = ["ridge", {"head": "knn", "label": "broken", "neighbours": 0.5}]
    options = {"features": ["a.npz"], "heads": heads, "settings": ["inductive"], "num_draws": 2}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options | {"shots": [1, 2]}))
    code, out, said = here("--config", "bench.yaml")
    assert code == 1
    assert "broken at 1 shot failed and is in no table: " in said
    assert "2 cells computed, 0 found" in said
    assert re.search(r"^ridge ", out, re.MULTILINE)
    assert not re.search(r"^broken ", out, re.MULTILINE)


def test_chosen_labels_stand_beside_random_ones(here: Here, tmp_path: Path) -> None:
    outside_features(tmp_path / "a.npz")
    (tmp_path / "picks.csv").write_text(
        "path,label\ntrain/R&D_dent/0.png,R&D_dent\ntrain/pit$/0.png,pit$\n"
        "train/scratch/0.png,scratch\n"
    )
    chosen = [{"name": "picked", "files": ["picks.csv"]}]
    options = {"features": ["a.npz"], "heads": ["ridge"], "settings": ["inductive"], "num_draws": 2}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options | {"chosen": chosen}))
    code, out, said = here("--config", "bench.yaml", "--shots", "1")
    assert code == 0, said
    (row,) = re.findall(r"^ridge, picked +(.*?) *$", out, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d\d", row), "one support has no interval"
    chosen[0] |= {"data": "elsewhere"}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options | {"chosen": chosen}))
    code, _, said = here("--config", "bench.yaml")
    assert code == 2
    assert "chosen picked: data: elsewhere; there are a" in said


def test_pictures_are_embedded_when_an_encoder_is_given(
    here: Here, steel: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CVGSSL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / steel.name  # three train pictures of each class and a test picture
    for pattern, number in (("train/*", 3), ("test/*", 1)):
        for folder in steel.glob(pattern):
            (data / folder.relative_to(steel)).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:number]:
                shutil.copy(path, data / path.relative_to(steel))
    file = f"test_vit={teacher_file}"
    encoder = {"name": "tiny", "encoder": file, "image_size": 32, "flips": "none"}
    options = {"data": [str(data)], "heads": ["ridge"], "shots": [2], "num_draws": 2}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options | {"encoders": [encoder]}))
    code, out, said = here("--config", "bench.yaml", "--settings", "inductive")
    assert code == 0, said
    assert f"{steel.name}, tiny, inductive" in out
    assert "1 cells computed" in said
    assert (
        "0 cells computed, 1 found" in here("--config", "bench.yaml", "--settings", "inductive")[2]
    )
    encoder |= {"poool": "cls", "flips": "twice"}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options | {"encoders": [encoder]}))
    code, _, said = here("--config", "bench.yaml")
    assert code == 2
    assert "poool: no such option" in said
    assert "--flips twice" in said
    assert here("--encoders", "a.pt")[2] == "cvgssl bench: --encoders: are for --data; name it\n"
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options))
    code, out, said = here("--config", "bench.yaml", "--settings", "inductive", "--out", "default")
    assert code == 0, said
    assert f"{steel.name}, tf_efficientnet_lite0, inductive" in out


def test_fine_tuning_stands_beside_heads_on_the_same_draws(
    here: Here, steel: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    tuned = {
        "name": "tuned", "arch": "test_vit", "pretrained": str(teacher_file), "epochs": 2,
        "image_size": 32, "lr": 0.01, "eval_every": 2,
    }  # fmt: skip
    guessing = tuned | {"name": "guessing", "pseudo_labels": True}
    options = {
        "data": [str(steel)],
        "encoders": [{"name": "tiny", "encoder": f"test_vit={teacher_file}", "image_size": 32}],
        "heads": ["ridge"], "settings": ["inductive"], "shots": [2], "num_draws": 3,
        "finetune": [tuned, guessing], "num_finetune_draws": 2,
    }  # fmt: skip
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options))
    assert (
        "finetune guessing: is semi-supervised; add that to settings"
        in here("--config", "bench.yaml")[2]
    )
    options["settings"] = ["inductive", "semi-supervised"]
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options))
    code, out, said = here("--config", "bench.yaml")
    assert code == 0, said
    inductive, semi_supervised = out.split("semi-supervised", 1)
    assert re.search(r"^tuned +\d+\.\d\d ± ", inductive, re.MULTILINE)
    assert re.search(r"^guessing +\d+\.\d\d ± ", semi_supervised, re.MULTILINE)
    assert "guessing" not in inductive
    assert "tuned" not in semi_supervised
    folders = sorted(path for path in (tmp_path / "bench" / "finetune").iterdir() if path.is_dir())
    other, run = folders  # by name
    assert json.loads((other / "summary.json").read_text())["setting"] == "semi-supervised"
    draws = json.loads((tmp_path / "bench" / "draws" / steel.name / "shot_2.json").read_text())
    assert json.loads((run / "draws.json").read_text())["supports"] == draws["supports"][:2]
    rows = csv.DictReader((tmp_path / "bench" / "tables" / "draws.csv").open())
    rows = [row for row in rows if row["setting"] == "inductive"]
    recall = [
        [float(r["macro_recall"]) for r in rows if r["head"] == h] for h in ("ridge", "tuned")
    ]
    assert list(map(len, recall)) == [3, 2]
    summary = json.loads((run / "summary.json").read_text())["last_epoch"]["by_draw"]
    assert recall[1] == pytest.approx([one["macro_recall"] for one in summary], abs=1e-3)
    results = csv.DictReader((tmp_path / "bench" / "tables" / "results.csv").open())
    (difference,) = [float(r["difference_mean"]) for r in results if r["head"] == "tuned"]
    assert difference == pytest.approx(np.mean(np.subtract(recall[1], recall[0][:2])), abs=1e-3)
    (run / "summary.json").unlink()
    assert here("--config", "bench.yaml")[0] == 0, "the cell is there: nothing is trained"
    assert not (run / "summary.json").exists()
    tuned |= {"epoch": 3, "shot": 5}
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(options))
    assert "shot: belongs to the benchmark" in here("--config", "bench.yaml")[2]
