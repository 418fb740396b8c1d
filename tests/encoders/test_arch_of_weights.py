from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cvgssl.encoders.arch_of_weights import infer_arch
from cvgssl.encoders.encoder_spec import parse_encoder
from cvgssl.encoders.loading import load_frozen_encoder
from cvgssl.encoders.timm_import import timm, torchvision
from cvgssl.runtime.errors import UserError


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_small_patch32_224",
        "vit_base_patch16_224",
        "vit_base_patch32_224",
        "vit_base_patch16_clip_224",
        "vit_huge_patch14_clip_224",
        "vit_base_patch16_siglip_224",
        "vit_base_patch32_siglip_256",
        "vit_large_patch16_siglip_384",
        "vit_so400m_patch14_siglip_378",
    ],
)
def test_architecture_from_names_and_shapes(arch: str) -> None:
    with torch.device("meta"):
        assert infer_arch(timm.create_model(arch).state_dict()) == arch


@pytest.mark.parametrize(
    "arch",
    [
        "wide_resnet50_2",
        "resnext50_32x4d",
        "resnet18d",
        "deit_tiny_distilled_patch16_224",
        "vit_huge_patch14_224",
        "vit_base_patch16_siglip_gap_224",
    ],
)
def test_look_alikes_are_unknown(arch: str) -> None:
    with torch.device("meta"):
        assert infer_arch(timm.create_model(arch).state_dict()) is None


def test_squeezenets_of_torchvision() -> None:
    for name in ("squeezenet1_0", "squeezenet1_1"):
        weights = torchvision.models.get_model(name).state_dict()
        assert infer_arch(weights) == f"torchvision:{name}"


@pytest.mark.parametrize(
    ("name", "arch", "openai"),
    [
        ("ViT-B-32", "vit_base_patch32_clip_quickgelu_224", True),
        ("ViT-B-32", "vit_base_patch32_clip_224", False),
        ("ViT-B-16", "vit_base_patch16_clip_quickgelu_224", True),
        ("ViT-L-14-336", "vit_large_patch14_clip_quickgelu_336", True),
        ("ViT-H-14", "vit_huge_patch14_clip_224", False),
        ("ViT-H-14-378", "vit_huge_patch14_clip_378", False),
        ("ViT-bigG-14", "vit_gigantic_patch14_clip_224", False),
        ("RN50", "resnet50_clip", True),
        ("RN101", "resnet101_clip", True),
    ],
)
def test_clip_towers(name: str, arch: str, openai: bool) -> None:
    open_clip = pytest.importorskip("open_clip")
    with torch.device("meta"):
        model = open_clip.model.CLIP(**open_clip.get_model_config(name))
    assert infer_arch(model.state_dict(), openai) == arch
    assert timm.is_model(arch)


@pytest.mark.parametrize("arch", ["vit_tiny_patch16_224", "resnet18", "vit_base_patch16_clip_224"])
def test_tensors_with_fewer_dimensions_than_their_names_say(arch: str, tmp_path: Path) -> None:
    """A line, whichever tensor it is that is flat."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in timm.create_model(arch).state_dict().items()}
    small = {key: torch.zeros([min(3, side) for side in shape]) for key, shape in shapes.items()}
    path = tmp_path / "flat.safetensors"
    for key in [key for key, value in small.items() if value.ndim > 1][:8]:
        save_file(small | {key: torch.zeros(small[key].shape[0])}, path)
        named = f"{arch}=" if "tiny" in arch else ""
        with pytest.raises(UserError):
            load_frozen_encoder(parse_encoder(f"{named}{path}", "--encoder"))
