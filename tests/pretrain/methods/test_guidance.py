"""Relational guidance and regression against float64 NumPy; standardized teacher features."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import small
import torch
from numpy_losses import Array, cosine, gradient, relation
from torch import nn

from cvgssl.pretrain.methods.base import Batch
from cvgssl.pretrain.methods.components import WeightedMean
from cvgssl.pretrain.methods.guided import Regression, Relation, Standardizer

WEIGHTS = (1.0, 3.0)
SPECTRAL: dict[str, Any] = {"guidance": "spectral", "bank": 8}


def features(seed: int) -> tuple[list[Array], list[Array]]:
    """Two views of four pictures: student [4, 3] each, two teachers [2, 4, 5] and [2, 4, 6]."""
    generator = np.random.default_rng(seed)
    student = [generator.normal(size=(4, 3)) for _ in range(2)]
    return student, [generator.normal(size=(2, 4, dim)) for dim in (5, 6)]


def tensors(arrays: list[Array]) -> list[torch.Tensor]:
    return [torch.tensor(x, dtype=torch.float32) for x in arrays]


def test_relation_agrees_with_float64() -> None:
    student, teachers = features(seed=1)

    def expected(changed: Array, at: int) -> float:
        views = [changed if number == at else x for number, x in enumerate(student)]
        means = [
            np.mean([relation(s, t, 0.3) for s, t in zip(views, ts, strict=True)])
            for ts in teachers
        ]
        return float(0.25 * means[0] + 0.75 * means[1])

    inputs = [x.requires_grad_() for x in tensors(student)]
    terms: dict[str, Any] = Relation(0.3, WeightedMean(WEIGHTS))(inputs, tensors(teachers))
    assert set(terms) == {"relation"}
    terms["relation"].backward()
    assert terms["relation"].item() == pytest.approx(expected(student[0], 0), rel=1e-5)
    for number, tensor in enumerate(inputs):
        slopes = gradient(partial(expected, at=number), student[number])
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), slopes, atol=5e-6)


def test_relation_is_zero_for_the_same_relations() -> None:
    student = torch.randn(6, 3)
    turned = student @ torch.linalg.qr(torch.randn(3, 3))[0]
    terms = Relation(0.1, WeightedMean([1.0]))([student], [turned[None]])
    assert abs(terms["relation"].item()) < 1e-5


def test_regression_agrees_with_float64() -> None:
    student, teachers = features(seed=2)
    guidance = Regression(3, (5, 6), WeightedMean(WEIGHTS))
    layers = [layer for layer in guidance.heads if isinstance(layer, nn.Linear)]
    losses = []
    for layer, views in zip(layers, teachers, strict=True):
        weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        pairs = [
            1 - cosine(weight @ s + bias, t)
            for view, guide in zip(student, views, strict=True)
            for s, t in zip(view, guide, strict=True)
        ]
        losses.append(np.mean(pairs))
    found = guidance(tensors(student), tensors(teachers))["regression"]
    assert found.item() == pytest.approx(0.25 * losses[0] + 0.75 * losses[1], rel=1e-5)


def test_standardizer_has_the_moments_of_all_that_it_saw() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [5 + 3 * torch.randn(2, 8, 4, generator=generator) for _ in range(5)]
    standardize = Standardizer(4)
    for batch in batches:
        found = standardize(batch)
    seen = torch.cat(batches).flatten(0, 1).double()
    expected = (batches[-1] - seen.mean(0)) / seen.std(0, unbiased=False)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)

    again = Standardizer(4)
    again.load_state_dict(standardize.state_dict())
    torch.testing.assert_close(again.eval()(batches[0]), standardize.eval()(batches[0]))
    assert again.count == standardize.count == 80


def test_a_constant_feature_is_not_amplified() -> None:
    values = torch.randn(64, 3)
    values[:, 1] = 0.1 + 1e-7 * torch.randn(64)
    assert Standardizer(3)(values)[:, 1].abs().max() < 0.01


@pytest.mark.parametrize(
    ("builder", "options", "names"),
    [
        ("cvgssl", {"guidance": "relational"}, {"relation", "regression"}),
        ("distill", {}, {"regression"}),
    ],
)
def test_every_term_trains_the_backbone(
    builder: str, options: dict[str, str], names: set[str]
) -> None:
    method = small.method(builder, **options)
    terms = method(small.batch(guided=True))
    assert set(terms) == names
    for name, term in terms.items():
        method.zero_grad(set_to_none=True)
        term.backward(retain_graph=True)
        learning = {n.split(".")[0] for n, p in method.named_parameters() if p.grad is not None}
        assert learning == ({"backbone"} if name == "relation" else {"backbone", "guidances"})


def test_features_are_standardized_unless_they_are_a_map() -> None:
    batch = small.batch(guided=True)
    moved = Batch(batch.views, tuple(9 + 4 * t for t in batch.targets), 0.0)
    for options, same in (({"guidance": "relational"}, True), (SPECTRAL, False)):
        terms = [small.method("cvgssl", **options)(b)["relation"].item() for b in (batch, moved)]
        assert (terms[0] == pytest.approx(terms[1], rel=1e-4)) == same
