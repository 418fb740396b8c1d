from typing import Any

import pytest
import torch

from cvgssl.encoders import extent
from cvgssl.encoders.backbone import build_backbone, split_arch
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET, Normalization
from cvgssl.encoders.timm_import import timm
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
    backbone = build_backbone("test_resnet", 32, normalization)
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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("drop_path_rate=0.1", 0.1),
        ("init_values=1e-5", 1e-5),
        ("depth=-1", -1),
        ("qkv_bias=False", False),
        ("qkv_bias=true", True),
        ("init_values=None", None),
        ("act_layer=relu", "relu"),
        ("mlp_ratio=2.5", 2.5),
    ],
)
def test_values_of_options(option: str, value: Any) -> None:
    name, options = split_arch(f"vit_tiny_patch16_224,{option}")
    given = options[option.partition("=")[0]]
    assert name == "vit_tiny_patch16_224" and given == value and type(given) is type(value)


def test_options_reach_the_architecture() -> None:
    small = "vit_small_patch14_dinov2,depth=2,embed_dim=48,num_heads=3"
    body = build_backbone(f"{small},drop_path_rate=0.25,qkv_bias=False", 28).body
    assert body.blocks[1].drop_path1.drop_prob == 0.25  # type: ignore[index, union-attr]
    assert "blocks.0.attn.qkv.bias" not in body.state_dict()
    assert "blocks.0.ls1.gamma" in body.state_dict()
    plain = build_backbone(f"{small},init_values=None", 28).body
    assert "blocks.0.ls1.gamma" not in plain.state_dict(), "None is not the same as left out"


@pytest.mark.parametrize(
    ("arch", "size", "message"),
    [
        ("vit_tiny_patch16_224,num_heads=0", 32, "cannot be built"),
        ("vit_tiny_patch16_224,patch_size=0", 32, "cannot be built"),
        ("vit_tiny_patch16_224,block=5", 32, "unexpected keyword argument 'block'"),
        ("vit_tiny_patch16_224,drop_path_rate=nan", 32, "drop_path_rate must be a finite number"),
        ("vit_tiny_patch16_224,depth=5001", 32, "depth must be at most 5,000"),
        ("vit_tiny_patch16_224,reg_tokens=10000000", 32, "reg_tokens must be at most 1,000,000"),
        ("vit_tiny_patch16_224,mlp_ratio=1e400", 32, "mlp_ratio must be a finite number"),
        ("vit_tiny_patch16_224,mlp_ratio=1e9", 32, "more than 10,000,000,000 numbers"),
        ("vit_tiny_patch16_224,reg_tokens=1000000000", 32, "reg_tokens must be at most 1,000,000"),
        ("vit_tiny_patch16_224,embed_dim=3000000", 32, "embed_dim must be at most 1,000,000"),
        ("vit_tiny_patch16_224,embed_dim=900000", 32, "more than 10,000,000,000 numbers"),
        ("vit_tiny_patch16_224", 10**7, "pictures have 1 to 16384 px, not 10000000"),
        ("vit_tiny_patch16_224", 0, "pictures have 1 to 16384 px, not 0"),
    ],
)
def test_absurd_options_are_one_line(arch: str, size: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_backbone(arch, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_too_many_layers_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "MOST_TENSORS", 100)
    with pytest.raises(UserError, match="or 100 tensors, which is no network"):
        build_backbone("vit_tiny_patch16_224,depth=4000,embed_dim=6,num_heads=1", 32)
    assert build_backbone("vit_tiny_patch16_224,depth=2,embed_dim=6,num_heads=1", 32)


def test_looking_at_the_size_draws_no_random_number() -> None:
    torch.manual_seed(5)
    mine = build_backbone("vit_tiny_patch16_224,depth=1", 32).body.state_dict()
    torch.manual_seed(5)
    theirs = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=0)
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine[name], value)


@pytest.mark.parametrize(
    "arch", ["test_resnet", "vit_tiny_patch16_224,depth=1", "eva02_tiny_patch14_224,depth=1"]
)
def test_without_drawing_all_but_the_weights_is_as_usual(arch: str) -> None:
    """Buffers that no file has (positions in a window, statistics) are the same."""
    with extent.undrawn():
        bare = build_backbone(arch, 112).body
    usual = build_backbone(arch, 112).body
    state = usual.state_dict()
    bare.load_state_dict(state)
    buffers = dict(usual.named_buffers())
    assert arch.startswith("eva02") == bool(buffers.keys() - state.keys())
    for name, value in bare.named_buffers():
        assert torch.equal(value, buffers[name]), name


def test_without_drawing_no_random_number_is_used() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with extent.undrawn():
        build_backbone("test_resnet", 64)
    assert torch.equal(torch.get_rng_state(), before)
    build_backbone("test_resnet", 64)
    assert not torch.equal(torch.get_rng_state(), before)
