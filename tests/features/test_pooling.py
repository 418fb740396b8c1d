"""Layers and pooling against the network's own steps; augmented against slices by hand."""

import pytest
import torch
from torch import Tensor

from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.features.encoder import augmented
from cvgssl.features.pooling import Pooling
from cvgssl.runtime.errors import UserError


def built(arch: str, size: int = 32) -> Backbone:
    torch.manual_seed(2)
    return build_backbone(arch, size).eval()


@pytest.fixture
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def pooled(backbone: Backbone, pixels: Tensor, ways: str, *layers: int) -> Tensor:
    found: Tensor = Pooling(backbone, ways.split("+"), layers)(backbone.normalize(pixels))
    return found


@torch.inference_mode()
def test_transformer(pixels: Tensor) -> None:
    backbone = built("vit_tiny_patch16_224,depth=3")
    body = backbone.body
    x = body._pos_embed(body.patch_embed(backbone.normalize(pixels)))  # type: ignore[operator]
    depths = []
    for block in body.blocks:  # type: ignore[union-attr]
        x = block(body.norm_pre(x))  # type: ignore[operator]
        depths.append(body.norm(x))  # type: ignore[operator]
    last, first = depths[-1], depths[0]
    torch.testing.assert_close(pooled(backbone, pixels, "cls"), last[:, 0])
    torch.testing.assert_close(pooled(backbone, pixels, "cls"), backbone(pixels))
    both = torch.cat([last[:, 0], last[:, 1:].mean(1)], dim=1)
    torch.testing.assert_close(pooled(backbone, pixels, "cls+mean"), both)
    wanted = torch.cat([first[:, 1:].amax(1), last[:, 1:].amax(1)], dim=1)
    torch.testing.assert_close(pooled(backbone, pixels, "max", 1, 3), wanted)
    torch.testing.assert_close(pooled(backbone, pixels, "max", -1, -3, 3), wanted)


@torch.inference_mode()
def test_registers_are_no_patches(pixels: Tensor) -> None:
    backbone = built("vit_tiny_patch16_224,depth=2,reg_tokens=3")
    tokens = backbone.body.forward_features(backbone.normalize(pixels))  # type: ignore[operator]
    assert tokens.shape[1] == 1 + 3 + 4
    torch.testing.assert_close(pooled(backbone, pixels, "mean"), tokens[:, 4:].mean(1))
    torch.testing.assert_close(pooled(backbone, pixels, "cls"), tokens[:, 0])


@torch.inference_mode()
def test_convolutions(pixels: Tensor) -> None:
    backbone = built("test_resnet")
    torch.testing.assert_close(pooled(backbone, pixels, "mean"), backbone(pixels))
    maps = backbone.body.forward_intermediates(  # type: ignore[operator]
        backbone.normalize(pixels), intermediates_only=True
    )
    wanted = torch.cat([maps[1].mean((2, 3)), maps[3].mean((2, 3))], dim=1)
    torch.testing.assert_close(pooled(backbone, pixels, "mean", 2, 4), wanted)


@pytest.mark.parametrize(
    ("arch", "ways", "layers", "message"),
    [
        ("test_resnet", "cls", (), "test_resnet has no class token; use --pooling mean"),
        ("torchvision:squeezenet1_1", "mean", (), "does not show its layers; leave it out"),
        ("test_vit", "mean", (1, 99), "--layers 99: test_vit has 6, from 1"),
        ("test_vit", "mean", (-7,), "--layers -7: test_vit has 6"),
    ],
)
def test_networks_without(arch: str, ways: str, layers: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Pooling(built(arch, 64), ways.split("+"), layers)
    assert message in str(caught.value)


def test_a_backbone_may_be_on_a_gpu() -> None:
    """Tensors of torch's meta device refuse to meet those of the CPU, as a GPU's do."""
    backbone = build_backbone("test_vit", 96).to("meta")
    pooling = Pooling(backbone, ["cls", "mean"], (1, 2))
    assert len(pooling.widths) == 4


def test_test_time_augmentation() -> None:
    picture = torch.arange(100.0).view(1, 1, 10, 10)
    assert [view.tolist() for view in augmented(picture, 1, 0.8, "none")] == [picture.tolist()]
    both = list(augmented(picture, 1, 0.8, "both"))
    assert len(both) == 4 and torch.equal(both[3], picture.rot90(2, (2, 3)))
    assert torch.equal(both[1][..., 0], picture[..., 9])
    turned = {tuple(view.flatten().tolist()) for view in augmented(picture, 1, 0.8, "rotations")}
    quarters = [picture.rot90(k, (2, 3)) for k in range(4)]
    group = [one for quarter in quarters for one in (quarter, quarter.flip(3))]
    assert turned == {tuple(one.flatten().tolist()) for one in group} and len(turned) == 8


def test_crops_spread_over_the_picture() -> None:
    picture = torch.arange(64.0 * 64).view(1, 1, 64, 64)
    views = list(augmented(picture, 16, 0.5, "none"))
    assert {tuple(view.shape) for view in views} == {(1, 1, 32, 32)}
    assert torch.equal(views[0], picture[..., 16:48, 16:48]), "the centre first"
    corners = torch.tensor([[view[0, 0, 0, 0] // 64, view[0, 0, 0, 0] % 64] for view in views])
    quarters = {(int(top >= 16), int(left >= 16)) for top, left in corners.tolist()}
    assert quarters == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(list(augmented(picture, 5, 0.5, "rotations"))) == 40
