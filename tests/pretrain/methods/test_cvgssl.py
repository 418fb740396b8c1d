"""The published objective against float64 NumPy; who learns from which term."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import small
import torch
from numpy_losses import Array, contrast, gradient, margin_constraint, published_constraint
from torch import nn

from cvgssl.pretrain.methods.base import Batch
from cvgssl.pretrain.methods.cvgssl import SHARPNESS, Cvgssl

PICTURES, VIEWS, WIDTH = 4, 3, 3
TEMPERATURE, MARGIN, SELF_WEIGHT = 0.7, 0.2, 0.3
SHARES = (0.25, 0.75)  # of TEACHER_WEIGHTS


def plain_parts(seed: int = 0) -> dict[str, Array]:
    """Linear encoder and predictor, one linear adapter per teacher, pictures, teacher features."""
    generator = np.random.default_rng(seed)
    shapes = {"encoder": (5, WIDTH), "predictor": (WIDTH, WIDTH), "pictures": (VIEWS, PICTURES, 5)}
    for number, dim in enumerate(small.TEACHER_DIMS):
        shapes[f"adapter{number}"] = (dim, WIDTH)
        shapes[f"teacher{number}"] = (VIEWS, PICTURES, dim)
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


def plain_loss(live: dict[str, Array], fixed: dict[str, Array], form: str) -> float:
    """The sum of all terms; what is under a stop-gradient is computed from `fixed`."""
    embedded = [view @ live["encoder"] for view in live["pictures"]]
    predicted = [h @ live["predictor"] for h in embedded]
    target = fixed["pictures"][0] @ fixed["encoder"]
    fixed_predicted = target @ fixed["predictor"]
    total = 0.0
    for number, share in enumerate(SHARES):
        z = live[f"teacher{number}"] @ live[f"adapter{number}"]
        fixed_z = fixed[f"teacher{number}"] @ fixed[f"adapter{number}"]
        for v in range(VIEWS):
            term = contrast(predicted[0], fixed_z[v], TEMPERATURE)
            term += contrast(fixed_predicted, z[v], TEMPERATURE)
            total += share * term / VIEWS
        for v in range(VIEWS - 1):
            if form == "published":
                term = published_constraint(z[v], z[v + 1])
            else:
                term = margin_constraint(z[v], z[v + 1], MARGIN, SHARPNESS)
            total += SELF_WEIGHT * share * term / (VIEWS - 1)
    for j in range(1, VIEWS):
        total += contrast(predicted[j], target, TEMPERATURE) / (VIEWS - 1)
        total += contrast(target, predicted[0], TEMPERATURE) / (VIEWS - 1)
    return total


def linear(matrix: Array) -> nn.Linear:
    layer = nn.Linear(matrix.shape[0], matrix.shape[1], bias=False)
    layer.weight.data = torch.tensor(matrix.T, dtype=torch.float32)
    return layer


@pytest.mark.parametrize("form", ["published", "margin"])
def test_loss_and_gradients_agree_with_float64(form: str) -> None:
    parts = plain_parts()
    options = {"t1": TEMPERATURE, "margin": MARGIN, "self_weight": SELF_WEIGHT}
    method: Any = small.method("cvgssl", self_constraint=form, **options)
    method.backbone, method.projector = nn.Identity(), linear(parts["encoder"])
    method.predictor = linear(parts["predictor"])
    method.adapters = nn.ModuleList(linear(parts[f"adapter{n}"]) for n in range(2))
    views = torch.tensor(parts["pictures"], dtype=torch.float32, requires_grad=True)
    teachers = [torch.tensor(parts[f"teacher{n}"], dtype=torch.float32) for n in range(2)]

    terms = method(Batch(tuple(views), tuple(teachers), 0.0))
    loss: Any = sum(terms.values())
    loss.backward()

    assert loss.item() == pytest.approx(plain_loss(parts, parts, form), rel=1e-5)
    found = {
        "encoder": method.projector.weight.grad.T,
        "predictor": method.predictor.weight.grad.T,
        "adapter0": method.adapters[0].weight.grad.T,
        "adapter1": method.adapters[1].weight.grad.T,
        "pictures": views.grad,
    }

    def changed(x: Array, name: str) -> float:
        return plain_loss(parts | {name: x}, parts, form)

    for name, slopes in found.items():
        expected = gradient(partial(changed, name=name), parts[name])
        np.testing.assert_allclose(slopes, expected, atol=1e-5, err_msg=name)


def learners(method: Cvgssl, term: Any) -> set[str]:
    """Names of the parts that the term has a gradient for other than exactly zero."""
    method.zero_grad(set_to_none=True)
    term.backward(retain_graph=True)
    return {
        name.split(".")[0]
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


def test_every_term_trains_what_it_should_and_nothing_else() -> None:
    method = small.method("cvgssl", self_constraint="margin")
    assert isinstance(method, Cvgssl)
    terms = method(small.batch(guided=True))
    student = {"backbone", "projector", "predictor"}
    assert learners(method, terms["views"]) == student
    assert learners(method, terms["self"]) == {"adapters"}
    assert learners(method, terms["teachers"]) == student | {"adapters"}


def test_teachers_reach_the_student_through_the_weak_view_alone() -> None:
    batch = small.batch(guided=True)
    for view in batch.views:
        view.requires_grad_()
    for features in batch.targets:
        features.requires_grad_()
    terms = small.method("cvgssl")(batch)
    terms["teachers"].backward()
    assert [view.grad is None for view in batch.views] == [False, True, True]


def test_teachers_weights_count_by_their_share() -> None:
    batch = small.batch(guided=True)
    weighted = small.method("cvgssl")
    terms = weighted(batch)["teachers"]
    single = []
    for number in range(2):
        method: Any = small.method("cvgssl")
        method.mean_over_teachers.shares = [float(number == 0), float(number == 1)]
        single.append(method(batch)["teachers"].item())
    assert terms.item() == pytest.approx(0.25 * single[0] + 0.75 * single[1], rel=1e-6)


@pytest.mark.parametrize("options", [{"self_constraint": "none"}, {"self_weight": 0.0}])
def test_the_self_constraint_can_be_left_out(options: dict[str, Any]) -> None:
    assert set(small.method("cvgssl", **options)(small.batch(guided=True))) == {"teachers", "views"}


def test_each_view_has_batch_statistics_of_its_own() -> None:
    """A strong view's pictures change nothing of what the weak view's become."""
    method = small.method("cvgssl")
    batch = small.batch(guided=True)
    other = Batch((*batch.views[:2], 1 - batch.views[2]), batch.targets, 0.0)
    assert torch.equal(method(batch)["teachers"], method(other)["teachers"])
    assert not torch.equal(method(batch)["views"], method(other)["views"])
