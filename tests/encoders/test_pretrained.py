"""Finding, refusing and reporting weight files."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.hub import download
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.runtime.errors import UserError

VIT = "vit_tiny_patch16_224,depth=2"


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    model = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=64)
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_summary_is_one_line_that_says_what_matched(vit: Path) -> None:
    report = load_pretrained(build_backbone(VIT, 64), vit)
    total = len(build_backbone(VIT, 64).body.state_dict())
    assert report.summary() == (
        f"pretrained: tiny.safetensors (timm layout, sha256 {report.sha256[:8]}), "
        f"{total} of {total} tensors of {VIT}; not used: head (2)"
    )


def test_file_that_hardly_matches_is_refused_and_changes_nothing(vit: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", 64)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"0 of 120 tensors.*wanted conv1.weight.*file has blocks"):
        load_pretrained(backbone, vit)
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items())


def test_other_width_or_depth_is_refused_naming_the_right_one(tmp_path: Path, vit: Path) -> None:
    with pytest.raises(UserError, match=r"\[192\] for \[384\]"):
        load_pretrained(build_backbone("vit_small_patch16_224,depth=2", 64), vit)
    with pytest.raises(UserError, match=r"more: blocks\.1"):
        load_pretrained(build_backbone("vit_tiny_patch16_224,depth=1", 64), vit)
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "r.pth")
    with pytest.raises(UserError, match="looks like --arch resnet34"):
        load_pretrained(build_backbone("resnet18", 64), tmp_path / "r.pth")


def test_mean_of_the_patches_instead_of_the_class_token(vit: Path) -> None:
    mean = build_backbone(VIT + ",global_pool=avg,fc_norm=false", 64).eval()
    assert load_pretrained(mean, vit).matched == len(mean.body.state_dict())
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        tokens = mean.body.forward_features(mean.normalize(pixels))
        torch.testing.assert_close(mean(pixels), tokens[:, 1:].mean(1))
    with pytest.raises(UserError, match=r"more: norm\.bias"):
        load_pretrained(build_backbone(VIT + ",global_pool=avg", 64), vit)


def test_few_missing_tensors_are_told(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    del state["layer1.0.bn1.weight"]
    torch.save(state, tmp_path / "r.pth")
    report = load_pretrained(build_backbone("resnet18", 64), tmp_path / "r.pth")
    assert report.missing == ("layer1.0.bn1.weight",)
    assert "119 of 120 tensors of resnet18; left random: layer1.0.bn1.weight" in report.summary()


def test_undefined_numbers_are_refused(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    state["conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "r.pth")
    with pytest.raises(UserError, match="damaged"):
        load_pretrained(build_backbone("resnet18", 64), tmp_path / "r.pth")


def test_mocov3_small_vit_needs_its_twelve_heads(tmp_path: Path) -> None:
    state = timm.create_model("vit_small_patch16_224", depth=1, img_size=32).state_dict()
    both = {f"module.base_encoder.{n}": t for n, t in state.items() if "head" not in n}
    both["module.momentum_encoder.cls_token"] = torch.zeros(1)
    torch.save({"arch": "vit_small", "state_dict": both}, tmp_path / "m.pth.tar")
    with pytest.raises(UserError, match="vit_small_patch16_224,num_heads=12"):
        load_pretrained(build_backbone("vit_small_patch16_224,depth=1", 32), tmp_path / "m.pth.tar")
    twelve = build_backbone("vit_small_patch16_224,depth=1,num_heads=12", 32)
    assert load_pretrained(twelve, tmp_path / "m.pth.tar").layout == "MoCo v3"


def test_a_model_of_ours_brings_its_normalization(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = build_backbone("resnet18", 64)
    state = {
        f"backbone.{name}": tensor.contiguous() for name, tensor in trained.state_dict().items()
    }
    card = {"arch": "resnet18", "normalization": {"mean": [0.3, 0.4, 0.5], "std": [1, 1, 1]}}
    header = {"cvgssl": json.dumps({"card": card})}
    save_file(state | {"head.weight": torch.ones(6, 512)}, tmp_path / "m.safetensors", header)
    backbone = build_backbone("resnet18", 64)
    report = load_pretrained(backbone, tmp_path / "m.safetensors")
    assert report.layout == "cvgssl model" and report.unexpected == ("head.weight",)
    assert backbone.normalization == Normalization((0.3, 0.4, 0.5), (1, 1, 1))
    assert torch.equal(backbone.body.conv1.weight, trained.body.conv1.weight)


def test_bare_names_are_looked_for_in_the_weights_folder(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CVGSSL_WEIGHTS", raising=False)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "pretrained").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UserError, match="looked here and pretrained"):
        find_weights("tiny.safetensors")
    assert find_weights("tiny.safetensors", tmp_path) == vit
    monkeypatch.setenv("CVGSSL_WEIGHTS", str(tmp_path))
    assert find_weights("tiny.safetensors") == vit
    with pytest.raises(UserError, match=r"did you mean tiny\.safetensors"):
        find_weights("tinny.safetensors")
    with pytest.raises(UserError, match=r"did you mean tiny\.safetensors"):
        find_weights(tmp_path / "tiny.safetensor")
    with pytest.raises(UserError, match="folder"):
        find_weights(tmp_path)


def test_hub_names_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"known: resnet18\.a1_in1k"):
        download("resnet18.no_such_tag")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"another machine.*weights folder"):
        load_pretrained(build_backbone("resnet10t", 32), "timm:resnet10t.c3_in1k")


@pytest.mark.real
@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"),
        ("torchvision:squeezenet1_1", "squeezenet1_1.imagenet1k.safetensors"),
    ],
)
def test_real_weights(arch: str, name: str) -> None:
    if not os.environ.get("CVGSSL_WEIGHTS"):
        pytest.skip("CVGSSL_WEIGHTS is not set")
    backbone = build_backbone(arch).eval()
    report = load_pretrained(backbone, name)
    assert report.matched == report.total and not report.missing
    with torch.no_grad():
        features = backbone(torch.randint(0, 256, (2, 1, 224, 224), dtype=torch.uint8))
    assert torch.isfinite(features).all() and features.std() > 0.1
