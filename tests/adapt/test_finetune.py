"""Options of fine-tuning do what they say."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.adapt.model_file import load_model
from cvgssl.adapt.network import Recognizer, adaptation_optimizer, set_learning_rate
from cvgssl.adapt.protocol import adapt
from cvgssl.adapt.training import DrawInputs, LabelledInputs, Trainer
from cvgssl.encoders.backbone import build_backbone
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch

SMALL: dict[str, Any] = {
    "arch": "test_resnet",
    "shot": 3,
    "num_draws": 1,
    "epochs": 4,
    "image_size": 32,
}


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(steel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What a run of the options above logs."""
    out = tmp_path_factory.mktemp("plain") / "run"
    return rows(adapt(FinetuneConfig(data=steel, **SMALL, out=out))[0])


def test_learns_its_support(steel: Path, tmp_path: Path) -> None:
    options = SMALL | {"epochs": 25, "lr": 0.05, "eval_every": 10}
    folder, summary = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "run"))
    assert rows(folder)[-1]["train_acc"] > 80
    evaluated = [row["epoch"] for row in rows(folder) if "test_acc" in row]
    assert evaluated == [10, 20, 25], "every tenth epoch and the last"
    assert summary.best_on_test.mean >= summary.last_epoch.accuracy.mean
    assert summary.setting == "inductive"


@pytest.mark.parametrize(
    "change",
    [
        {"augment": True},
        {"label_smoothing": 0.2},
        {"precision": "bf16"},
        {"optimizer": "adamw"},
        {"weight_decay": 0.1},
        {"momentum": 0.0},
        {"batch_size": 4},
        {"seed": 1},
        {"start_epoch": 1},
        {"image_size": 48},
        {"interpolation": "bicubic"},
        {"normalize": "imagenet"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_changes_the_training(
    steel: Path, tmp_path: Path, change: dict[str, Any], plain: list[dict[str, float]]
) -> None:
    changed, _ = adapt(FinetuneConfig(data=steel, **SMALL | change, out=tmp_path / "changed"))
    last, other = plain[-1]["train_loss"], rows(changed)[-1]["train_loss"]
    assert np.isfinite(other)
    assert other != last


def test_same_options_give_the_same_numbers(steel: Path, tmp_path: Path) -> None:
    options = SMALL | {"augment": True, "ema": 0.9}
    first, _ = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "a"))
    second, _ = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "b"))
    assert rows(first) == rows(second)


def test_dropout_is_that_of_draw_and_epoch(steel: Path, tmp_path: Path) -> None:
    metrics = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        out = tmp_path / str(seed)
        options = SMALL | {"arch": "resnet10t,drop_path_rate=0.5"}
        adapt(FinetuneConfig(data=steel, **options, out=out))
        metrics.append((out / "metrics.jsonl").read_text())
    assert metrics[0] == metrics[1]


def test_every_draw_begins_with_the_scaler_as_new() -> None:
    accelerator = launch()
    accelerator.scaler = torch.amp.GradScaler("cpu")  # as --precision fp16 has on a GPU
    split = LabelledInputs(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))
    options = LinearConfig(data=Path("unused"))
    accelerator.scaler.load_state_dict(accelerator.scaler.state_dict() | {"scale": 4.0})
    Trainer(DrawInputs(1, split, split), nn.Linear(3, 2), options, accelerator)
    assert accelerator.scaler.get_scale() == 2.0**16


def test_ema_is_the_running_average(steel: Path, tmp_path: Path) -> None:
    """With one step per epoch: average = 0.5 * average + 0.5 * weights, from the first step on."""
    weights = []
    for epochs in (1, 2):  # the schedule of the second job's first epoch is the first job's
        config = FinetuneConfig(
            data=steel,
            **SMALL | {"epochs": epochs, "ema": 0.5, "lr": 0.05},
            out=tmp_path / str(epochs),
        )
        folder, summary = adapt(config)
        weights.append(
            [
                load_model(folder / "weights" / name)[0].state_dict()
                for name in ("draw_1.safetensors", "draw_1_ema.safetensors")
            ]
        )
    (first, first_average), (second, second_average) = weights
    for name, value in first.items():
        assert torch.allclose(first_average[name].float(), value.float()), "first step: a copy"
        if value.is_floating_point():
            wanted = 0.5 * first_average[name] + 0.5 * second[name]
            assert torch.allclose(second_average[name], wanted, atol=1e-6), name
    assert summary.ema_last_epoch is not None


def test_layer_decay_lowers_rates_towards_the_input() -> None:
    model = Recognizer(build_backbone("vit_tiny_patch16_224", 32), classes=3)
    config = FinetuneConfig(data=Path("d"), lr=0.1, layer_decay=0.5)
    optimizer = adaptation_optimizer(model, config)
    rates = {
        id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]
    }
    names = dict(model.named_parameters())
    assert set(rates) == {id(weight) for weight in names.values()}, "every weight once"

    def rate(name: str) -> float:
        return rates[id(names[name])]

    assert rate("head.weight") == 0.1
    blocks = [rate(f"backbone.body.blocks.{i}.attn.qkv.weight") for i in range(12)]
    assert np.allclose(np.divide(blocks[1:], blocks[:-1]), 2)
    assert rate("backbone.body.patch_embed.proj.weight") == pytest.approx(blocks[0] / 2)
    set_learning_rate(optimizer, 5, 10)
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.05), "half way down the cosine"


def test_whole_support_and_long_tail(steel: Path, tmp_path: Path) -> None:
    options = SMALL | {"shot": 6, "imbalance": 6, "num_draws": 2, "epochs": 1}
    folder, summary = adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "run"))
    supports = json.loads((folder / "draws.json").read_text())["supports"]
    assert [len(paths) for paths in supports[1].values()] == [6, 4, 3, 2, 1, 1]
    assert summary.imbalance == 6


def test_draws_of_another_run_are_used_again(steel: Path, tmp_path: Path) -> None:
    first, _ = adapt(LinearConfig(data=steel, **SMALL | {"num_draws": 3}, out=tmp_path / "first"))
    config = FinetuneConfig(
        data=steel,
        **SMALL | {"seed": 9, "shot": 1, "epochs": 1},
        draws=first / "draws.json",
        save_weights="all",
        out=tmp_path / "second",
    )
    second, summary = adapt(config)
    wanted, used = (json.loads((f / "draws.json").read_text()) for f in (first, second))
    assert used["supports"] == wanted["supports"]
    assert (summary.shot, summary.num_draws) == (3, 3)
    weights = sorted(path.name for path in (second / "weights").iterdir())
    assert weights == ["draw_1.safetensors", "draw_2.safetensors", "draw_3.safetensors"]


def test_corrupt_pictures_stop_or_are_left_out(steel: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(steel, data)
    victims = [next((data / split / "patches").iterdir()) for split in ("train", "test")]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:500])
    config = FinetuneConfig(data=data, **SMALL, out=tmp_path / "run")
    with pytest.raises(UserError) as caught:
        adapt(config)
    assert all(str(victim) in str(caught.value) for victim in victims)
    assert not (tmp_path / "run").exists()

    folder, summary = adapt(
        FinetuneConfig(data=data, **SMALL, skip_corrupt=True, out=tmp_path / "run")
    )
    assert (summary.train_pictures, summary.test_pictures) == (41, 17)
    assert summary.skipped_pictures == 2
    assert "2 unreadable pictures left out" in (folder / "log.txt").read_text()


def test_diverged_training_says_so(steel: Path, tmp_path: Path) -> None:
    options = SMALL | {"lr": 1e30, "epochs": 20}
    with pytest.raises(UserError, match=r"epoch \d+: the loss is .*lower --lr"):
        adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "run"))


def test_head_starts_alike_in_both_modes(steel: Path) -> None:
    from cvgssl.adapt.model_source import load_model_source
    from cvgssl.images.geometry import Geometry

    config = FinetuneConfig(data=steel, **SMALL)
    source = load_model_source(config, ("a", "b"), Geometry(32))
    head, again = source.head(1), source.recognizer(1).head
    assert isinstance(head, nn.Linear)
    assert torch.equal(head.weight, again.weight)
    assert not torch.equal(head.weight, source.head(2).weight)
