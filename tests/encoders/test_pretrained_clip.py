"""OpenAI CLIP and open_clip towers, with made-up weights in their real modules and formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.normalization import CLIP, HALF
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm  # before open_clip, which imports torchvision
from cvgssl.runtime.errors import UserError

pytest.importorskip("open_clip")
SIZE = 64
PLAIN = "vit_base_patch32_clip_224,depth=2,embed_dim=128,num_heads=2"
QUICK = "vit_base_patch32_clip_quickgelu_224,depth=2,embed_dim=128,num_heads=2"


Vit = Callable[[bool], nn.Module]


@pytest.fixture(scope="session")
def vit(make_clip: Any) -> Vit:
    return lambda quick_gelu: make_clip(2, quick_gelu, width=128, patch_size=32)


def token(model: nn.Module, pixels: Tensor) -> Tensor:
    """The class token before the projection into the joint space."""
    model.visual.proj = None
    return model.visual(pixels)


@pytest.fixture(scope="module")
def archive(vit: Vit, save_archive: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript archive as OpenAI publishes it: float16, with its three numbers."""
    path = tmp_path_factory.mktemp("clip") / "ViT-B-32.pt"
    save_archive(vit(True), path, SIZE)
    return path


def same_features(backbone: Backbone, wanted: Any) -> None:
    pixels = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.eval()(pixels), wanted(backbone.normalize(pixels)), atol=1e-5, rtol=1e-4
        )


def test_openai_archive(vit: Vit, archive: Path) -> None:
    backbone = build_backbone(QUICK, SIZE)
    report = load_pretrained(backbone, archive)
    assert report.layout == "OpenAI CLIP" and report.normalization == CLIP
    assert report.matched == report.total == len(backbone.body.state_dict())
    assert "transformer" in report.summary().partition("not used: ")[2]
    model = vit(True)
    same_features(backbone, lambda pixels: token(model, pixels))


def test_openai_weights_never_meet_plain_gelu(vit: Vit, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"QuickGELU.*vit_base_patch32_clip_quickgelu_224"):
        load_pretrained(build_backbone(PLAIN, SIZE), archive)
    numbers = {"input_resolution": torch.tensor(64)}
    torch.save(vit(True).state_dict() | numbers, tmp_path / "state.pt")
    with pytest.raises(UserError, match="QuickGELU"):
        load_pretrained(build_backbone(PLAIN, SIZE), tmp_path / "state.pt")
    with pytest.raises(UserError, match="norm_pre"):
        load_pretrained(
            build_backbone("vit_base_patch32_224,depth=2,embed_dim=128,num_heads=2", SIZE), archive
        )


@pytest.mark.parametrize(
    ("arch", "quick"), [(PLAIN, False), (PLAIN + ",act_layer=quick_gelu", True)]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_open_clip_vit(vit: Vit, tmp_path: Path, arch: str, quick: bool, prefix: str) -> None:
    model = vit(quick)
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 32, "name": "run", "state_dict": state}, tmp_path / "epoch_32.pt")
    backbone = build_backbone(arch, SIZE)
    report = load_pretrained(backbone, tmp_path / "epoch_32.pt")
    assert report.layout == "open_clip" and report.normalization == CLIP
    assert ("plain GELU" in report.summary()) is not quick
    same_features(backbone, lambda pixels: token(model, pixels))


@pytest.mark.parametrize("openai", [True, False])
def test_clip_resnet(make_clip: Any, tmp_path: Path, openai: bool) -> None:
    model = make_clip((3, 4, 6, 3), True, width=64)
    state = model.state_dict() | ({"vocab_size": torch.tensor(20)} if openai else {})
    torch.save(state, tmp_path / "RN50.pt")
    pooled = build_backbone("resnet50_clip_gap", SIZE)
    report = load_pretrained(pooled, tmp_path / "RN50.pt")
    assert report.layout == ("OpenAI CLIP" if openai else "open_clip")
    assert report.matched == report.total
    attention = build_backbone("resnet50_clip", SIZE)
    report = load_pretrained(attention, tmp_path / "RN50.pt")
    assert report.matched == report.total == len(attention.body.state_dict())
    model.visual.attnpool.c_proj = nn.Identity()
    model.visual.attnpool.c_proj.weight = torch.eye(2048)
    model.visual.attnpool.c_proj.bias = torch.zeros(2048)
    same_features(attention, model.visual)
    model.visual.attnpool = nn.Identity()
    same_features(pooled, lambda pixels: model.visual(pixels).mean((2, 3)))


@pytest.mark.parametrize("siglip", [True, False])
def test_open_clip_with_a_tower_of_timm(tmp_path: Path, siglip: bool) -> None:
    tower = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=SIZE, num_classes=0)
    state = {f"visual.trunk.{name}": tensor for name, tensor in tower.state_dict().items()}
    state |= {"visual.head.proj.weight": torch.ones(4, 192), "text.cls_emb": torch.ones(4)}
    if siglip:
        state["logit_bias"] = torch.tensor(-10.0)
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    backbone = build_backbone("vit_tiny_patch16_224,depth=2", SIZE)
    report = load_pretrained(backbone, tmp_path / "open_clip_pytorch_model.bin")
    assert report.normalization == (HALF if siglip else CLIP)
    same_features(backbone, tower.eval())
