"""Checkpoints in the layouts of self-supervised codes: the features are those of the source."""

import argparse
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import HALF, IMAGENET, Normalization
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm, torchvision

SIZE = 64
RESNET, VIT = "resnet18", "vit_tiny_patch16_224,depth=2"
State = dict[str, Tensor]


@lru_cache
def source(arch: str) -> nn.Module:
    """A model of `arch` whose batch norms have seen pictures, like a trained one; not to change."""
    torch.manual_seed(7)
    model = build_backbone(arch, SIZE).body.train()
    with torch.no_grad():
        model(torch.randn(8, 3, SIZE, SIZE))
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return model.eval()


def under(prefix: str, state: State, **others: int) -> State:
    """`state` below a prefix, and other parts with so many tensors beside it."""
    weights = {prefix + name: tensor for name, tensor in state.items()}
    for part, count in others.items():
        for number in range(count):
            weights[f"{part.replace('__', '.')}.{number}.weight"] = torch.randn(3, 3)
    return weights


def children(state: State) -> State:
    """Names after nn.Sequential(*list(resnet.children())[:-1])."""
    order = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    return {
        f"{order.index(name.split('.')[0])}.{name.split('.', 1)[1]}": tensor
        for name, tensor in state.items()
    }


def mocov3(state: State, prefix: str = "module.") -> State:
    weights = under(f"{prefix}base_encoder.", state)
    weights |= {
        f"{prefix}momentum_encoder.{name}": torch.zeros_like(tensor)
        for name, tensor in state.items()
    }
    return weights | under("", {}, **{f"{prefix[:-1]}__predictor": 4} if prefix else {})


def cvgssl(state: State) -> dict[str, Any]:
    weights = under("base_encoder.", state, base_encoder__fc=4, predictor=3, adapter=5)
    return {"epoch": 300, "arch": "resnet18", "state_dict": weights, "optimizer": {"state": {}}}


def moco(state: State) -> dict[str, Any]:
    weights = under("module.encoder_q.", state, module__encoder_q__fc=2)
    weights |= {f"module.encoder_k.{name}": torch.zeros_like(t) for name, t in state.items()}
    weights["module.queue"] = torch.randn(4, 4)
    return {"epoch": 200, "arch": "resnet50", "state_dict": weights, "best_acc1": np.float64(3)}


def dino(state: State) -> dict[str, Any]:
    teacher = under("backbone.", state, head__mlp=3)
    student = {f"module.{name}": torch.zeros_like(tensor) for name, tensor in teacher.items()}
    return {"student": student, "teacher": teacher, "args": argparse.Namespace(), "epoch": 100}


def solo(state: State) -> dict[str, Any]:
    weights = under("backbone.", state, projector=3, momentum_backbone=3, classifier=1)
    return {"state_dict": weights, "pytorch-lightning_version": "2.0.2", "hyper_parameters": {}}


def lightly_train(state: State) -> dict[str, Any]:
    chain = "_method.{}_embedding_model.wrapped_model._model."
    weights = {chain.format("student") + name: torch.zeros_like(t) for name, t in state.items()}
    return {"state_dict": weights | under(chain.format("teacher"), state)}


CASES = [
    ("CVGSSL", RESNET, cvgssl, HALF),
    ("CVGSSL", VIT, lambda s: {"state_dict": under("module.base_encoder.", s)}, HALF),
    ("MoCo v1/v2", RESNET, moco, IMAGENET),
    ("MoCo v3", RESNET, lambda s: {"arch": "resnet50", "state_dict": mocov3(s)}, IMAGENET),
    ("MoCo v3", VIT, lambda s: {"arch": "vit_base", "state_dict": mocov3(s)}, IMAGENET),
    ("DINO", VIT, dino, IMAGENET),
    ("DINO", RESNET, dino, IMAGENET),
    ("DINO", VIT, lambda s: {"student": under("module.backbone.", s)}, IMAGENET),
    ("DINO", VIT, lambda s: {"teacher": under("backbone.", s, dino_head=2)}, IMAGENET),
    ("ViT without classifier (as DINO publishes it)", VIT, dict, IMAGENET),
    ("Lightning (solo-learn, lightly)", RESNET, solo, IMAGENET),
    ("Lightning (solo-learn, lightly)", VIT, solo, IMAGENET),
    ("lightly", RESNET, lambda s: {"state_dict": under("backbone.", children(s))}, IMAGENET),
    ("lightly-train", RESNET, lightly_train, IMAGENET),
    (
        "Lightning (solo-learn before 1.0)",
        RESNET,
        lambda s: {"state_dict": under("encoder.", s), "pytorch-lightning_version": "1.4"},
        IMAGENET,
    ),
    ("timm or torchvision", RESNET, lambda s: {**s, "fc.weight": torch.ones(9, 512)}, IMAGENET),
    ("timm", VIT, lambda s: {"model": {**s, "head.weight": torch.ones(9, 192)}}, HALF),
    ("timm", RESNET, lambda s: {"net": 1, "state_dict": under("a.model.", s)}, IMAGENET),
    ("timm", RESNET, lambda s: under("_orig_mod.module.", s), IMAGENET),
]


@pytest.mark.parametrize(("layout", "arch", "write", "normalization"), CASES)
def test_features_are_those_of_the_source(
    tmp_path: Path, layout: str, arch: str, write: Any, normalization: Normalization
) -> None:
    model = source(arch)
    path = tmp_path / "weights.bin"
    torch.save(write(model.state_dict()), path)
    backbone = build_backbone(arch, SIZE, Normalization((0.1, 0.2, 0.3), (1, 1, 1)))
    report = load_pretrained(backbone.eval(), path)
    assert report.layout == layout
    assert report.matched == report.total == len(model.state_dict())
    assert backbone.normalization == report.normalization == normalization
    pixels = torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model(backbone.normalize(pixels))
        torch.testing.assert_close(backbone(pixels), wanted, atol=1e-5, rtol=1e-5)


def test_torchvision_vit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = torchvision.models.VisionTransformer(SIZE, 16, 2, 3, 192, 768).eval()
    nn.init.normal_(model.heads.head.weight)
    path = tmp_path / "vit_b_16-c867db91.pth"
    torch.save(model.state_dict(), path)
    backbone = build_backbone(VIT, SIZE).eval()
    report = load_pretrained(backbone, path)
    assert report.layout == "torchvision ViT" and report.unexpected == ("head.weight", "head.bias")
    model.heads = nn.Identity()
    pixels = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model(backbone.normalize(pixels))
        torch.testing.assert_close(backbone(pixels), wanted, atol=1e-5, rtol=1e-5)


def test_torchvision_architecture_that_timm_has_not(tmp_path: Path) -> None:
    model = torchvision.models.squeezenet1_1(weights=None).eval()
    save_file(model.state_dict(), tmp_path / "s.safetensors")
    backbone = build_backbone("torchvision:squeezenet1_1", SIZE).eval()
    report = load_pretrained(backbone, tmp_path / "s.safetensors")
    assert report.matched == report.total == 50 and report.normalization == IMAGENET
    pixels = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model.features(backbone.normalize(pixels)).mean((2, 3))
        torch.testing.assert_close(backbone(pixels), wanted, atol=1e-5, rtol=1e-5)


def test_another_grid_patch_and_gray_stem_are_converted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", depth=2, img_size=96).state_dict(), path)
    other = build_backbone("vit_tiny_patch16_224,depth=2,patch_size=8", SIZE)
    notes = " ".join(load_pretrained(other, path).notes)
    assert "pos_embed resampled [1, 37, 192] to [1, 65, 192]" in notes
    assert "patch_embed.proj.weight resampled" in notes

    gray = timm.create_model(RESNET, num_classes=0, in_chans=1).eval()
    torch.save(gray.state_dict(), path)
    backbone = build_backbone(RESNET, SIZE).eval()
    report = load_pretrained(backbone, path)
    backbone.normalization = HALF
    assert report.notes == ("conv1.weight spread from gray to 3 channels",)
    pixels = torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        wanted = gray(backbone.normalize(pixels)[:, :1])
        torch.testing.assert_close(backbone(pixels), wanted, atol=1e-4, rtol=1e-4)
