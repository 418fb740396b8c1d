"""What `--pretrained` may name, and the architecture that follows from it."""

from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch

from cvgssl.adapt.config import LinearConfig
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.pretrained import check_start, load_pretrained
from cvgssl.encoders.start_options import StartOptions, parse_start
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import explain, make


@pytest.mark.parametrize(
    ("pretrained", "arch"),
    [
        ("", "resnet18"),
        ("weights/x.pt", "resnet18"),
        ("vit_tiny_patch16_224=x.pt", "vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224,depth=4=x.pt", "vit_tiny_patch16_224,depth=4"),
        ("ViT-B/32=x.pt", "vit_base_patch32_clip_quickgelu_224"),
        ("torchvision:squeezenet1_1=x.pt", "torchvision:squeezenet1_1"),
        ("timm:resnet10t.c3_in1k", "resnet10t"),
        ("timm:resnet10t.c3_in1k=x.pt", "resnet10t"),
    ],
)
def test_a_name_sets_the_architecture(pretrained: str, arch: str) -> None:
    assert StartOptions(pretrained=pretrained).arch == arch
    assert make(StartOptions, {"pretrained": pretrained}).arch == arch
    assert StartOptions(pretrained=pretrained, arch=arch).arch == arch


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"pretrained": "resnet50=x.pt", "arch": "resnet18"}, ["resnet50", "--arch is resnet18"]),
        ({"pretrained": "vit_x,depth=4=x.pt", "arch": "vit_x"}, ["vit_x,depth=4", "--arch is"]),
        ({"pretrained": "resnet50=x.pt:0.5"}, [":WEIGHT has no effect"]),
        ({"pretrained": "vit_x,layers=3=x.pt"}, ["layers has no effect"]),
        ({"pretrained": "resnet50="}, ["the file after '=' is missing"]),
    ],
)
def test_mistakes_are_told_in_one_line(options: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        LinearConfig(data=Path("d"), **options)
    (line,) = explain(caught.value)
    assert line.startswith(f"--pretrained {options['pretrained']}") or "--pretrained '" in line
    assert all(message in line for message in messages)


def test_arch_may_have_options_of_which_the_name_says_nothing() -> None:
    options = StartOptions(pretrained="vit_x=x.pt", arch="vit_x,dynamic_img_size=true")
    assert options.arch == "vit_x,dynamic_img_size=true"
    other = StartOptions(pretrained="timm:vit_x_224.augreg", arch="vit_x_384")
    assert other.arch == "vit_x_384"  # its position embedding is resized


def test_a_file_that_is_there_wins_over_the_grammar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = build_backbone("test_resnet", 32).body.state_dict()
    for name in ("w.pt", "test_vit=w.pt"):
        torch.save(weights, tmp_path / name)
    assert parse_start("test_vit=w.pt").file == "test_vit=w.pt"
    assert StartOptions(pretrained="test_vit=w.pt").arch == "resnet18"
    backbone = build_backbone("test_resnet", 32)
    for source in ("w.pt", "test_vit=w.pt", tmp_path / "w.pt", "test_resnet=w.pt",
                   "test_resnet=test_vit=w.pt"):  # fmt: skip
        report = load_pretrained(backbone, source)
        assert report.matched == report.total
    with pytest.raises(UserError, match=r"^--pretrained test_vit=\./w\.pt: names test_vit, --arch"):
        load_pretrained(backbone, "test_vit=./w.pt")


def test_a_name_alone_means_the_only_file_of_the_weights_folder_that_fits(tmp_path: Path) -> None:
    backbone = build_backbone("resnet18", 32)
    torch.save(backbone.body.state_dict(), tmp_path / "any.pt")
    assert load_pretrained(backbone, "resnet18", tmp_path).path == tmp_path / "any.pt"


def test_an_unknown_name_is_told_by_the_flag_that_has_it() -> None:
    check_start("test_resnet=absent.pt")
    check_start("absent.pt")
    with pytest.raises(UserError, match=r"^--pretrained resnet19: not a file.*resnet18"):
        check_start("resnet19")
