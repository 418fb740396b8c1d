import pytest
import torch
from torch import nn

from cvgssl.encoders.backbone import build_backbone
from cvgssl.pretrain.methods.components import adapter, mlp, predictor, projector


def linear(head: nn.Module) -> list[nn.Linear]:
    return [module for module in head.modules() if isinstance(module, nn.Linear)]


def test_layers_and_norms() -> None:
    kinds = [type(part).__name__ for part in mlp(3, 8, 4, layers=3)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    *hidden, last = [m for m in mlp(3, 8, 4, 3) if isinstance(m, nn.BatchNorm1d)]
    assert all(norm.affine for norm in hidden) and not last.affine
    assert [layer.bias is None for layer in linear(mlp(3, 8, 4, 2))] == [True, True]
    assert [layer.bias is None for layer in linear(mlp(3, 8, 4, 2, last_norm=False))] == [
        True,
        False,
    ]


def test_the_output_has_mean_0_and_variance_1_over_the_batch() -> None:
    out = mlp(3, 8, 4, layers=2)(torch.randn(64, 3))
    assert out.shape == (64, 4)
    assert out.mean(0).abs().max() < 1e-5
    assert (out.var(0, unbiased=False) - 1).abs().max() < 1e-2


@pytest.mark.parametrize(("arch", "layers"), [("test_resnet", 2), ("test_vit", 3)])
def test_projector_of_convnets_and_of_transformers(arch: str, layers: int) -> None:
    backbone = build_backbone(arch, 32)
    head = projector(backbone, 16, 8)
    assert len(linear(head)) == layers
    assert head(backbone(torch.rand(2, 1, 32, 32))).shape == (2, 8)


def test_widths_of_predictor_and_adapter() -> None:
    assert [layer.weight.shape for layer in linear(predictor(16, 8))] == [(16, 8), (8, 16)]
    assert [layer.weight.shape for layer in linear(adapter(5, 16, 8))] == [
        (16, 5),
        (16, 16),
        (8, 16),
    ]
