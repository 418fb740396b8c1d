from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy_losses import Array, gradient, margin_constraint, published_constraint

from cvgssl.pretrain.methods.cvgssl import SHARPNESS, margin, published, self_constrained

MARGIN = 0.2


def views(count: int = 3) -> list[Array]:
    generator = np.random.default_rng(3)
    return [generator.normal(size=(5, 4)) for _ in range(count)]


@pytest.mark.parametrize("form", ["published", "margin"])
def test_value_and_gradients_agree_with_float64(form: str) -> None:
    arrays = views()

    def expected(changed: Array, at: int) -> float:
        a, b, c = (changed if number == at else x for number, x in enumerate(arrays))
        if form == "published":
            return (published_constraint(a, b) + published_constraint(b, c)) / 2
        forms = [margin_constraint(x, y, MARGIN, SHARPNESS) for x, y in ((a, b), (b, c))]
        return sum(forms) / 2

    tensors = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in arrays]
    chosen = published if form == "published" else partial(margin, width=MARGIN)
    loss: Any = self_constrained(tensors, chosen)
    loss.backward()

    assert loss.item() == pytest.approx(expected(arrays[0], 0), rel=1e-5)
    for number, tensor in enumerate(tensors):
        slopes = gradient(partial(expected, at=number), arrays[number])
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), slopes, atol=2e-6)


def test_published_cannot_tell_right_views_from_wrong_ones_and_margin_can() -> None:
    right = torch.eye(4) * 0.9
    wrong = right.roll(1, 1)
    assert published(right).item() == pytest.approx(published(wrong).item())
    assert margin(right, MARGIN) < 0.01 < 1 < margin(wrong, MARGIN)


def test_margin_rests_where_the_views_are_near_enough() -> None:
    cosines = torch.tensor([[0.9, 0.1], [0.1, 0.9]], requires_grad=True)
    loss: Any = margin(cosines, MARGIN)
    loss.backward()
    assert cosines.grad is not None and cosines.grad.abs().max() < 0.01
