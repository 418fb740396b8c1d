import subprocess
import sys

import pytest
import torch

from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET, Normalization
from cvgssl.runtime.errors import UserError


@pytest.mark.parametrize(
    ("arch", "dim"),
    [
        ("resnet18", 512),
        ("resnet34", 512),
        ("resnet50", 2048),
        ("vit_tiny_patch16_224", 192),
        ("vit_small_patch16_224", 384),
        ("vit_base_patch16_224", 768),
        ("mobilenetv3_small_050", 1024),
        ("torchvision:squeezenet1_1", 512),
    ],
)
def test_architectures_give_features_at_another_size(arch: str, dim: int) -> None:
    backbone = build_backbone(arch, image_size=64).eval()
    with torch.no_grad():
        features = backbone(torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8))
    assert features.shape == (2, dim) and backbone.feature_dim == dim
    assert torch.isfinite(features).all()
    assert all(key.startswith("body.") for key in backbone.state_dict())


@pytest.mark.parametrize("normalization", [HALF, IMAGENET, CLIP])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalization_is_mean_and_std_of_pixels_in_0_1(
    normalization: Normalization, channels: int
) -> None:
    backbone = build_backbone("resnet18", 32, normalization)
    pixels = torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (normalization.mean, normalization.std))
    wanted = (pixels.expand(-1, 3, -1, -1) / 255 - mean) / std
    torch.testing.assert_close(backbone.normalize(pixels), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(backbone.normalize(pixels / 255), wanted, atol=1e-5, rtol=0)


def test_gray_picture_and_its_three_equal_channels_give_the_same_features() -> None:
    backbone = build_backbone("vit_tiny_patch16_224", 64, CLIP).eval()
    gray = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(backbone(gray), backbone(gray.expand(-1, 3, -1, -1)))


def test_torch_generator_decides_the_random_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_backbone("resnet18", 32).body.conv1.weight)
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_options_of_the_architecture_follow_commas() -> None:
    backbone = build_backbone("vit_small_patch16_224,num_heads=12", 32)
    assert backbone.body.blocks[0].attn.num_heads == 12
    with pytest.raises(UserError, match="option=value"):
        build_backbone("vit_small_patch16_224,12")
    with pytest.raises(UserError, match="nonsense"):
        build_backbone("vit_small_patch16_224,nonsense=1", 32)


def test_unknown_architecture_names_close_ones() -> None:
    with pytest.raises(UserError, match="resnet18"):
        build_backbone("resnet_18")
    with pytest.raises(UserError, match="torchvision:squeezenet1_1"):
        build_backbone("torchvision:squeezenet11")
    with pytest.raises(UserError, match="features"):
        build_backbone("torchvision:resnet18")


def test_import_is_silent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from cvgssl.encoders.timm_import import timm; timm.create_model"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "" and done.stderr == ""
