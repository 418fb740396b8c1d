"""Pseudo-labels: which pictures get one, what a batch holds, what is said about it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cvgssl.adapt import training
from cvgssl.adapt.config import FinetuneConfig
from cvgssl.adapt.data import load_task
from cvgssl.adapt.frozen_features import feature_extractor
from cvgssl.adapt.model_source import load_model_source
from cvgssl.adapt.protocol import adapt
from cvgssl.adapt.pseudo_labels import (
    PseudoLabelPool,
    PseudoLabels,
    balanced,
    beside,
    confident,
    guess,
    pseudo_label_source,
)
from cvgssl.adapt.training import DrawInputs, LabelledInputs, Trainer
from cvgssl.images.surfaces import synthesize
from cvgssl.report.adaptation import print_summary
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch
from cvgssl.runtime.options import explain
from cvgssl.runtime.run import RunFolder


@pytest.fixture
def options(teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    options = {"arch": "test_vit", "pretrained": str(teacher_file), "image_size": 32, "shot": 2}
    return options | {"num_draws": 2, "epochs": 2, "pseudo_labels": True, "lr": 0.01}


def test_the_surest_of_each_guessed_class_are_taken() -> None:
    sure = np.array([0.9, 0.6, 0.8, 0.7, 0.99, 0.51, 1.0])
    distributions = np.stack([sure, 1 - sure], axis=1)
    distributions[4:6] = distributions[4:6, ::-1]  # rows 4 and 5 are of the other class
    target = np.array([-1, -1, -1, -1, -1, -1, 0])
    found = confident(distributions, target, 0.5)
    assert found.rows.tolist() == [0, 2, 4], "half of four and of two; the labelled row is not one"
    assert found.labels.tolist() == [0, 0, 1]
    assert found.weights.tolist() == [0.9, 0.8, 0.99]
    assert confident(distributions, target, 0.01).rows.tolist() == [0, 4], "at least one of each"
    assert confident(distributions, target, 1.0).rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_guesses_follow_clusters_and_never_look_at_other_labels() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(150) % 3
    features = np.eye(8, dtype=np.float32)[truth] * 4 + generator.standard_normal((150, 8)).astype(
        np.float32
    )
    support = np.arange(3)
    found = guess(features, truth, support, 0.6)
    assert (found.labels == truth[found.rows]).mean() > 0.95
    assert not set(found.rows) & set(support)
    hidden = truth.copy()
    hidden[3:] = 0
    again = guess(features, hidden, support, 0.6)
    assert np.array_equal(again.rows, found.rows)
    assert np.array_equal(again.labels, found.labels)


def test_classes_take_turns_in_a_batch() -> None:
    labels = np.array([0] * 50 + [2] * 3 + [5])
    places = balanced(labels, 32, np.random.default_rng(1))
    counts = np.bincount(labels[places], minlength=6)
    assert sorted(counts[[0, 2, 5]]) == [10, 11, 11]
    assert counts.sum() == 32
    assert len(set(places[labels[places] == 0])) > 5, "any of a class"
    assert len(balanced(labels, 0, np.random.default_rng(1))) == 0


def test_labelled_pictures_keep_their_share() -> None:
    assert [beside(6, share) for share in (0.25, 0.5, 0.1)] == [18, 6, 54]


def _pool(count: int) -> PseudoLabelPool:
    generator = np.random.default_rng(4)
    pictures = generator.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % 2
    rows = np.arange(4, count)
    return PseudoLabelPool(
        pictures.__getitem__,
        PseudoLabels(rows, labels[rows], np.full(len(rows), 0.5)),
        count - 4,
        0.0,
    )


def test_a_step_is_the_weighted_mean_over_the_whole_batch(tmp_path: Path) -> None:
    """One epoch of one step, against the gradient of the loss written out."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), _Float(), torch.nn.Linear(64, 2))
    weight = model[2].weight.detach().clone().requires_grad_()
    bias = model[2].bias.detach().clone()
    pool = _pool(20)
    split = LabelledInputs(pool.pixels(np.arange(4)), torch.tensor([0, 1, 0, 1]))
    config = FinetuneConfig(
        data=Path("d"), pretrained="x", pseudo_labels=True, labelled_share=0.2, epochs=1,
        lr=0.5, momentum=0.0, weight_decay=0.0,
    )  # fmt: skip
    drawn = pool.drawn(16, 1, 0, config)
    trainer = Trainer(DrawInputs(1, split, split, pool), model, config, launch(None, "fp32"))
    trainer.fit(RunFolder(tmp_path), lambda: False, lambda _: None, lambda _: None)

    pixels = torch.cat([torch.from_numpy(split.inputs), drawn.pixels]).flatten(1).float() / 255
    each = F.cross_entropy(
        pixels @ weight.T + bias, torch.cat([split.labels, drawn.labels]), reduction="none"
    )
    (torch.cat([torch.ones(4), drawn.weights]) * each).sum().div(20).backward()
    torch.testing.assert_close(model[2].weight, weight.detach() - 0.5 * weight.grad)
    (row,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert row["train_loss"] == pytest.approx(each[:4].mean().item()), "of the labelled ones"
    assert drawn.weights.tolist() == [0.5] * 16
    assert drawn.labels.float().mean() == 0.5


class _Float(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() / 255


def test_every_file_says_semi_supervised(
    steel: Path, tmp_path: Path, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, summary = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "run"))
    print_summary(folder, summary)
    title = " ".join(capsys.readouterr().out.split())
    assert "fine-tuning (pseudo-labels), test_vit" in title
    assert "2 draws, semi-supervised" in title
    assert (summary.setting, summary.mode) == ("semi-supervised", "fine-tuning (pseudo-labels)")
    written = json.loads((folder / "summary.json").read_text())
    assert written["setting"] == "semi-supervised"
    assert len(written["pseudo_labels"]) == len(written["pseudo_right"]) == 2
    unlabelled = summary.train_pictures - 12
    assert all(unlabelled / 2 <= used <= unlabelled / 2 + 6 for used in written["pseudo_labels"])
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if "semi-sup" in line]
    assert [line.split(":")[0] for line in lines] == [
        "[Run 1] semi-supervised",
        "[Run 2] semi-supervised",
    ]
    assert f"of {unlabelled} unlabelled training pictures" in lines[0]
    plain, inductive = adapt(
        FinetuneConfig(data=steel, **options | {"pseudo_labels": False}, out=tmp_path / "plain")
    )
    assert (inductive.setting, inductive.pseudo_labels) == ("inductive", None)
    assert len((plain / "metrics.jsonl").read_text().splitlines()) == 4, "the same steps"


@pytest.mark.parametrize(
    "change",
    [
        {"augment": True},
        {"unlabelled_share": 1.0},
        {"labelled_share": 0.25},
        {"pseudo_labels": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_its_options_change_the_training(
    steel: Path, tmp_path: Path, options: dict[str, Any], change: dict[str, Any]
) -> None:
    ends = []
    for number, more in enumerate(({}, change)):
        config = FinetuneConfig(
            data=steel, **options | {"num_draws": 1} | more, out=tmp_path / str(number)
        )
        rows = (adapt(config)[0] / "metrics.jsonl").read_text().splitlines()
        ends.append(json.loads(rows[-1])["train_loss"])
    assert np.isfinite(ends).all()
    assert ends[0] != ends[1]


def test_an_interrupted_run_ends_with_the_same_numbers(
    steel: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options |= {"augment": True, "batch_size": 8, "trainable": "lora:2"}
    whole, _ = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "whole"))
    monkeypatch.setattr(training, "SNAPSHOT_EVERY", 0.0)
    write = RunFolder.log

    def failing(self: RunFolder, line: str) -> None:
        write(self, line)
        if line.startswith("[Run 2] Epoch [2/"):
            raise OSError("pulled the plug")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="plug"):
        patch.setattr(RunFolder, "log", failing)
        adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "cut"))
    cut, _ = adapt(FinetuneConfig(data=steel, **options, resume=tmp_path / "cut"))
    for name in ("log.txt", "metrics.jsonl", "weights/draw_1.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (whole, cut)]
    for key in ("last_epoch", "pseudo_labels", "pseudo_right"):
        assert summaries[0][key] == summaries[1][key]


def test_without_unlabelled_pictures_it_says_so(
    steel: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    config = FinetuneConfig(data=steel, **options | {"shot": 7}, out=tmp_path / "run")
    with pytest.raises(UserError, match="--pseudo-labels: draw 1 has labels for all training pict"):
        adapt(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pseudo_labels": True}, "--pseudo-labels: needs --pretrained"),
        ({"unlabelled": "p"}, "--unlabelled p: is used by --pseudo-labels only"),
    ],
)
def test_what_does_not_go_together_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        FinetuneConfig(data=Path("d"), **options)
    (line,) = explain(caught.value)
    assert line.startswith(message)


def test_a_folder_of_further_pictures(steel: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Copies of known pictures are left out; colour beside gray is understood."""
    pool = tmp_path / "pool"
    synthesize(tmp_path / "more", per_class=3, seed=9, image_size=64, test_fraction=0.34)
    shutil.copytree(tmp_path / "more", pool)
    shutil.copytree(steel / "test", pool / "copied from test")
    shutil.copytree(steel / "train" / "patches", pool / "copied from train")
    shutil.copy(next((steel / "train" / "scratches").iterdir()), pool / "another name.bmp")
    Image.effect_noise((64, 64), 40).convert("RGB").save(pool / "gray.png")
    Image.new("RGB", (64, 64), (200, 30, 30)).save(pool / "colour.png")
    options |= {"shot": 7, "num_draws": 1, "unlabelled_share": 1.0}
    config = FinetuneConfig(data=steel, **options, unlabelled=pool, out=tmp_path / "run")
    folder, summary = adapt(config)
    log = (folder / "log.txt").read_text()
    assert "20 more without labels (26 copies left out)" in log
    assert "pseudo-labels for 20 of 20 unlabelled training pictures\n" in log
    assert (summary.setting, summary.pseudo_labels) == ("semi-supervised", [20])
    assert summary.pseudo_right is None

    (pool / "gray.png").unlink()
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match="the pictures, the split or the draws changed"):
        adapt(FinetuneConfig(data=steel, **options, unlabelled=pool, resume=folder))
    for name, message in (("test", "only pictures that the data set has"), ("none", "no such fol")):
        config = FinetuneConfig(data=steel, **options, unlabelled=steel / name, out=tmp_path / "no")
        with pytest.raises(UserError, match=message):
            adapt(config)


def test_train_pictures_and_the_folder_together(
    steel: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    pool = tmp_path / "pool"
    synthesize(pool, per_class=2, seed=9, image_size=64, test_fraction=0.5)
    config = FinetuneConfig(
        data=steel, **options | {"unlabelled_share": 1.0}, unlabelled=pool, out=tmp_path / "run"
    )
    accelerator = launch(None, "fp32")
    task = load_task(config, accelerator)
    source = load_model_source(config, task.classes, task.geometry)
    extractor = feature_extractor(source, config, accelerator, pooled=True)
    found = pseudo_label_source(task, config, extractor, lambda _count: None).pool(1)
    assert found.unlabelled == 42 - 12 + 12
    assert found.guesses.rows.tolist() == [n for n in range(54) if n not in task.support_rows[0]]
    assert task.pool is not None
    pixels = found.pixels(np.array([50, 3]))
    assert np.array_equal(pixels[0], task.pool.pictures.pixels[8])
    assert np.array_equal(pixels[1], task.loaded.train.pixels[3])
