"""Fine-tuning of a part of the network: what changes, what stays, what is written."""

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cvgssl.adapt import training
from cvgssl.adapt.config import FinetuneConfig, parse_trainable
from cvgssl.adapt.lora import merged
from cvgssl.adapt.model_file import load_model
from cvgssl.adapt.network import (
    Recognizer,
    adaptation_optimizer,
    choose_part,
    train_mode,
    train_only,
)
from cvgssl.adapt.protocol import adapt
from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import explain
from cvgssl.runtime.run import RunFolder

VIT: dict[str, Any] = {"arch": "test_vit", "image_size": 32, "shot": 2, "num_draws": 1, "lr": 0.05}
ATTENTION = ("attn.qkv.weight", "attn.proj.weight")


def recognizer(arch: str, trainable: str) -> Recognizer:
    torch.manual_seed(3)
    model = Recognizer(build_backbone(arch, 32), classes=3)
    part = choose_part(model.backbone, parse_trainable(trainable), alpha=4.0)
    train_only(model, part, torch.Generator().manual_seed(0))
    return model.eval()


def pictures(count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


def steps(model: Recognizer, count: int = 2) -> None:
    """A few steps of the real optimizer, on all that is trained."""
    optimizer = adaptation_optimizer(model, FinetuneConfig(data=Path("d"), lr=0.1, layer_decay=0.9))
    for _ in range(count):
        train_mode(model)
        torch.nn.functional.cross_entropy(model(pictures()), torch.arange(5) % 3).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@pytest.mark.parametrize("trainable", ["all", "head", "norm", "blocks:2", "lora:3"])
def test_the_start_is_the_network_as_it_was(trainable: str) -> None:
    torch.manual_seed(3)
    plain = Recognizer(build_backbone("test_vit", 32), classes=3).eval()
    with torch.no_grad():
        assert torch.equal(recognizer("test_vit", trainable)(pictures()), plain(pictures()))


@pytest.mark.parametrize(
    ("trainable", "wanted"),
    [
        ("head", lambda _: False),
        ("norm", lambda name: "norm" in name),
        ("blocks:2", lambda name: "blocks.4." in name or "blocks.5." in name or ".norm." in name),
        ("lora:3", lambda name: name.endswith(ATTENTION)),
    ],
)
def test_only_what_is_named_changes(trainable: str, wanted: Any) -> None:
    model = recognizer("test_vit", trainable)
    before = merged(model).state_dict()
    before = {name: value.clone() for name, value in before.items()}
    steps(model)
    expected = {name for name in before if wanted(name) or name.startswith("head.")}
    assert changed(before, merged(model).state_dict()) == expected


def test_an_update_has_its_rank_and_leaves_the_weight_alone() -> None:
    model = recognizer("test_vit", "lora:3")
    before = {name: value.clone() for name, value in merged(model).state_dict().items()}
    steps(model)
    frozen = model.get_parameter("backbone.body.blocks.0.attn.qkv.base.weight")
    name = "backbone.body.blocks.0.attn.qkv.weight"
    assert torch.equal(frozen, before[name])
    update = merged(model).state_dict()[name] - before[name]
    assert torch.linalg.matrix_rank(update.double(), rtol=1e-4) == 3
    down, up = (
        model.get_parameter(f"backbone.body.blocks.0.attn.qkv.{part}") for part in ("down", "up")
    )
    torch.testing.assert_close(update, 4 / 3 * up @ down)


def test_merged_weights_give_the_same_logits() -> None:
    model = recognizer("test_vit", "lora:2")
    steps(model)
    plain = merged(model)
    fresh = Recognizer(build_backbone("test_vit", 32), classes=3)
    assert plain.state_dict().keys() == fresh.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(plain(pictures()), model(pictures()))
    assert merged(plain) is plain


@pytest.mark.parametrize(
    ("trainable", "moving"), [("head", ""), ("blocks:1", "layer4."), ("norm", "."), ("all", ".")]
)
def test_frozen_batch_norm_keeps_its_statistics(trainable: str, moving: str) -> None:
    model = recognizer("test_resnet", trainable)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps(model, 1)
    found = {name for name in changed(before, model.state_dict()) if "running" in name}
    assert found == {name for name in before if "running" in name and moving and moving in name}


@pytest.mark.parametrize(
    ("arch", "trainable", "message"),
    [
        ("resnet18", "lora:8", "resnet18 has no attention layers; LoRA is for transformers"),
        ("test_vit", "lora:64", "the attention layers of test_vit are 64 wide"),
        ("test_vit", "blocks:7", "--trainable blocks:7: test_vit has 6"),
        ("torchvision:squeezenet1_1", "norm", "has no normalisation layers"),
        ("torchvision:squeezenet1_1", "blocks:1", "does not name its blocks"),
    ],
)
def test_what_a_network_does_not_have_is_said(arch: str, trainable: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        recognizer(arch, trainable)
    assert str(caught.value).startswith(f"--trainable {trainable}: ") or trainable == "norm"


def test_it_is_said_before_anything_is_written(steel: Path, tmp_path: Path) -> None:
    options = VIT | {"arch": "test_resnet", "trainable": "lora:2"}
    with pytest.raises(UserError, match="LoRA is for transformers"):
        adapt(FinetuneConfig(data=steel, **options, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["half", "lora", "lora:0", "blocks:-1", "blocks:x", "norm:2", ""])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        FinetuneConfig(data=Path("d"), trainable=text)
    (line,) = explain(caught.value)
    assert line.startswith(f"--trainable {text}: ")


def test_attention_pooling_counts_as_what_follows_the_blocks() -> None:
    backbone: Backbone = build_backbone("vit_base_patch16_siglip_224", 32)
    part = choose_part(backbone, parse_trainable("blocks:1"), 1.0)
    tops = {name.rsplit(".", 2)[0].split(".attn")[0].split(".mlp")[0] for name in part.tensors}
    assert {"blocks.11", "attn_pool"} <= tops
    assert not any(name.startswith(("blocks.10", "patch")) for name in part.tensors)


def test_a_run_with_updates_resumes_and_writes_a_plain_file(
    steel: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"trainable": "lora:2", "ema": 0.5, "pretrained": str(teacher_file), "epochs": 4}
    whole, summary = adapt(FinetuneConfig(data=steel, **VIT | more, out=tmp_path / "whole"))
    assert summary.mode == "fine-tuning (lora:2)"
    log = (whole / "log.txt").read_text().splitlines()
    assert log[2].startswith("trained: lora:2, ")

    monkeypatch.setattr(training, "SNAPSHOT_EVERY", 0.0)
    write = RunFolder.log

    def failing(self: RunFolder, line: str) -> None:
        write(self, line)
        if line.startswith("[Run 1] Epoch [3/"):
            raise OSError("pulled the plug")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="plug"):
        patch.setattr(RunFolder, "log", failing)
        adapt(FinetuneConfig(data=steel, **VIT | more, out=tmp_path / "cut"))
    config = FinetuneConfig(data=steel, **VIT | more, resume=tmp_path / "cut")
    adapt(config)
    assert (tmp_path / "cut" / "log.txt").read_text().splitlines() == log
    start = load_file(teacher_file)
    for name in ("draw_1.safetensors", "draw_1_ema.safetensors"):
        written = whole / "weights" / name
        assert written.read_bytes() == (tmp_path / "cut" / "weights" / name).read_bytes()
        body = load_model(written)[0].backbone.body.state_dict()
        same = {key: value for key, value in start.items() if key in body}
        found = changed({key: body[key] for key in same}, same)
        assert found
        assert all(key.endswith(ATTENTION) or key == "pos_embed" for key in found)
    epochs = [json.loads(line)["epoch"] for line in (whole / "metrics.jsonl").open()]
    assert epochs == [1, 2, 3, 4]
