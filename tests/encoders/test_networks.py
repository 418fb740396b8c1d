"""Checkpoints of a whole model: the network that its authors evaluate is read, and said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.backbone_file import read_backbone, read_weights, without_weights
from cvgssl.encoders.inspection import inspect_weights
from cvgssl.encoders.networks import flat_blocks, network
from cvgssl.encoders.normalization import IMAGENET
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError

VIT = "vit_tiny_patch16_224,depth=1,embed_dim=48,num_heads=3"
State = dict[str, Tensor]


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def whole(good: State, bad: State) -> dict[str, Any]:
    """DINOv2's model_final.rank_0.pth: the student comes first."""
    model = under("student.backbone.", bad) | under("teacher.backbone.", good)
    model |= {"teacher.dino_head.last.weight": torch.ones(2), "dino_loss.center": torch.zeros(2)}
    return {"model": model, "iteration": 1}


def sharded(good: State, bad: State) -> dict[str, Any]:
    inside = "_fsdp_wrapped_module.backbone._orig_mod."
    model = under(f"module.student.{inside}", bad) | under(f"module.teacher.{inside}", good)
    return {"model": model}


def averaged(good: State, bad: State) -> dict[str, Any]:
    """torchvision's references: AveragedModel counts beside its module."""
    slow = under("module.", good) | {"n_averaged": torch.tensor(5)}
    return {"model": bad, "model_ema": slow, "optimizer": {"state": {}}, "epoch": 3}


CHECKPOINTS: dict[str, tuple[Callable[[State, State], dict[str, Any]], str]] = {
    "DINOv2": (whole, "teacher"),
    "DINOv2 in parts": (sharded, "teacher"),
    "DINO": (
        lambda good, bad: {
            "student": under("module.backbone.", bad),
            "teacher": under("backbone.", good),
        },
        "teacher",
    ),
    "iBOT, nested": (
        lambda good, bad: {"model": {"student": bad, "teacher": {"backbone": good}}},
        "teacher",
    ),
    "lightly": (
        lambda good, bad: {
            "state_dict": under("student_backbone.", bad) | under("teacher_backbone.", good)
        },
        "teacher",
    ),
    "Lightning": (
        lambda good, bad: {
            "state_dict": under("model.student.", bad) | under("model.teacher.", good)
        },
        "teacher",
    ),
    "I-JEPA": (
        lambda good, bad: {
            "encoder": under("module.", bad),
            "target_encoder": under("module.", good),
            "predictor": {"module.a": torch.zeros(3)},
        },
        "target_encoder",
    ),
    "I-JEPA, flat": (
        lambda good, bad: under("encoder.", bad) | under("target_encoder.", good),
        "target_encoder",
    ),
    "BYOL": (
        lambda good, bad: under("target_encoder.net.", bad) | under("online_encoder.net.", good),
        "online_encoder",
    ),
    "BYOL, nested": (
        lambda good, bad: {
            "online_network_state_dict": good,
            "target_network_state_dict": bad,
        },
        "online_network_state_dict",
    ),
    "timm": (
        lambda good, bad: {"arch": "vit", "state_dict": bad, "state_dict_ema": good},
        "state_dict_ema",
    ),
    "torchvision": (averaged, "model_ema"),
    "student": (lambda good, _: {"student": under("module.backbone.", good)}, "student"),
}


@pytest.fixture(scope="module")
def states() -> tuple[State, State]:
    good = build_backbone(VIT, 32).body.state_dict()
    return good, {name: torch.zeros_like(value) for name, value in good.items()}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_network_that_is_evaluated(
    tmp_path: Path, states: tuple[State, State], kind: str
) -> None:
    write, name = CHECKPOINTS[kind]
    path = tmp_path / "checkpoint.pth"
    torch.save(write(*states), path)
    backbone = build_backbone(VIT, 32)
    report = load_pretrained(backbone, path)
    for key, value in states[0].items():
        assert torch.equal(backbone.body.state_dict()[key], value), key
    assert f"the checkpoint's {name} is read" in report.summary()
    assert inspect_weights(path).network == name
    if kind.startswith(("DINO", "I-JEPA")):
        assert report.normalization == IMAGENET


def test_what_was_not_chosen_is_named(tmp_path: Path, states: tuple[State, State]) -> None:
    torch.save(whole(*states), tmp_path / "whole.pth")
    found = read_backbone(tmp_path / "whole.pth")
    assert found.layout.name == "DINO"
    assert found.notes == ("the checkpoint's teacher is read, not its student",)
    assert "student.backbone.cls_token" in found.left and "dino_loss.center" in found.left


def test_a_single_network_needs_no_word(tmp_path: Path, states: tuple[State, State]) -> None:
    torch.save({"state_dict": states[0]}, tmp_path / "plain.pth")
    assert read_backbone(tmp_path / "plain.pth").notes == ()


def test_keys_that_no_rule_knows_are_listed(tmp_path: Path, states: tuple[State, State]) -> None:
    path = tmp_path / "ours.pth"
    torch.save({"ours": states[0], "parts": {"head\n": {"w": torch.ones(2)}}, "epoch": 3}, path)
    count = len(states[0])
    with pytest.raises(UserError) as caught:
        read_backbone(path)
    assert (
        f"under keys that no rule knows: ours ({count} tensors), parts.head\\n (1 tensors)"
        in str(caught.value)
    )
    assert "\n" not in str(caught.value)
    assert "ours" in str(inspect_weights(path).problem)
    torch.save({"epoch": 3}, path)
    assert without_weights(read_weights(path)) == "holds no weights"


def test_a_tree_that_holds_itself_ends() -> None:
    tree: dict[str, Any] = {"a": torch.ones(1)}
    for key in ("model", "state_dict", "ema", "teacher"):
        tree[key] = tree
    assert network(tree).weights.keys() == {"a"}
    tree.pop("a")
    assert not network(tree).weights


def test_blocks_in_chunks(tmp_path: Path) -> None:
    arch = "vit_small_patch14_dinov2,patch_size=16,depth=4,embed_dim=48,num_heads=3"
    state = build_backbone(arch, 32).body.state_dict()
    chunks = {
        name.replace(f"blocks.{n}.", f"blocks.{n // 2}.{n}."): value
        for name, value in state.items()
        for n in [int(name.split(".")[1]) if name.startswith("blocks.") else 0]
    }
    assert "blocks.1.3.norm1.weight" in chunks
    assert flat_blocks(chunks).keys() == state.keys()
    torch.save({"teacher": under("backbone.", chunks)}, tmp_path / "chunks.pth")
    backbone = build_backbone(arch, 32)
    load_pretrained(backbone, tmp_path / "chunks.pth")
    for name, value in backbone.body.state_dict().items():
        assert torch.equal(value, state[name])


def test_groups_of_other_networks_stay() -> None:
    with torch.device("meta"):
        state = timm.create_model("efficientnet_b0").state_dict()
    assert flat_blocks(state).keys() == state.keys()
    one_group = {"blocks.0.0.conv.weight": torch.ones(1), "blocks.0.1.conv.weight": torch.ones(1)}
    assert flat_blocks(one_group).keys() == one_group.keys()
