from typing import Any

import numpy as np
import pytest
import torch
from numpy_losses import Array, contrast, gradient

from cvgssl.pretrain.methods.contrastive import concat_all, info_nce


def pair(seed: int, pictures: int = 5, width: int = 4) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(pictures, width)), generator.normal(size=(pictures, width))


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_value_and_gradients_agree_with_float64(temperature: float) -> None:
    q, k = pair(seed=1)
    left, right = (torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (q, k))
    loss: Any = info_nce(left, right, temperature)
    loss.backward()

    assert loss.item() == pytest.approx(contrast(q, k, temperature), rel=1e-5)
    expected = [
        gradient(lambda x: contrast(x, k, temperature), q),
        gradient(lambda x: contrast(q, x, temperature), k),
    ]
    for tensor, slopes in zip((left, right), expected, strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), slopes, atol=2e-6)


def test_the_other_rows_of_the_keys_are_the_negatives() -> None:
    eye = torch.eye(4)
    assert info_nce(eye, eye, 0.05) < 1e-6, "each picture is nearest to itself"
    assert info_nce(eye, eye.roll(1, 0), 0.05) > 1, "each picture is nearest to another one"
    same = torch.ones(4, 3)
    assert info_nce(same, same, 1.0).item() == pytest.approx(2 * np.log(4)), "no telling apart"


def test_a_detached_side_gets_no_gradient() -> None:
    q, k = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    loss: Any = info_nce(q.detach(), k, 0.5)
    loss.backward()
    assert q.grad is None
    assert k.grad is not None and k.grad.abs().sum() > 0


def test_autocast_and_half_precision_inputs_are_compared_in_float32() -> None:
    q, k = (torch.tensor(x, dtype=torch.bfloat16) for x in pair(seed=2))
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(q, k, 0.1)
    assert loss.dtype == torch.float32
    expected = contrast(q.double().numpy(), k.double().numpy(), 0.1)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_alone_nothing_is_gathered() -> None:
    rows = torch.randn(3, 2)
    assert concat_all(rows) is rows
