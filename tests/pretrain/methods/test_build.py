"""What holds for every method."""

from typing import Any

import pytest
import small
import torch

from cvgssl.encoders.backbone import build_backbone
from cvgssl.pretrain.methods.build import build_method

METHODS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("cvgssl", {}, {"teachers", "views", "self"}),
    ("cvgssl", {"guidance": "relational"}, {"relation", "regression"}),
    ("cvgssl", {"guidance": "regression"}, {"regression"}),
    ("cvgssl", {"guidance": "spectral", "bank": 8}, {"relation", "regression"}),
    ("distill", {}, {"regression"}),
    ("mocov3", {}, {"contrast"}),
    ("simclr", {}, {"contrast"}),
    ("byol", {}, {"distance"}),
    ("simsiam", {}, {"distance"}),
    ("dino", {}, {"cross_entropy"}),
]


def need_lightly(builder: str) -> None:
    if builder in ("simclr", "byol", "simsiam", "dino"):
        pytest.importorskip("lightly")


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("builder", "options", "names"), METHODS)
def test_terms_are_float32_in_every_precision(
    builder: str, options: dict[str, Any], names: set[str], precision: torch.dtype | None
) -> None:
    need_lightly(builder)
    method = small.method(builder, **options)
    # gradients of half precision are slow on a CPU
    pictures, views = (8, 3) if precision is None else (2, 2)
    batch = small.batch(builder in ("cvgssl", "distill"), pictures, views)
    with torch.autocast("cpu", precision, enabled=precision is not None):
        terms = method(batch)
    assert set(terms) == names
    for term in terms.values():
        assert term.shape == () and term.dtype == torch.float32 and term.isfinite()
    loss: Any = sum(terms.values())
    loss.backward()
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained), "DDP waits for every one"


@pytest.mark.parametrize(("builder", "options"), [method[:2] for method in METHODS])
def test_a_seed_gives_the_same_method_bit_for_bit(builder: str, options: dict[str, Any]) -> None:
    need_lightly(builder)
    one, two = (small.method(builder, **options).state_dict() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("builder", ["cvgssl", "mocov3"])
def test_a_transformer_trains_as_well(builder: str) -> None:
    backbone = build_backbone("test_vit", small.SIDE)
    guided = builder == "cvgssl"
    dims, weights = (small.TEACHER_DIMS, small.TEACHER_WEIGHTS) if guided else ((), ())
    method = build_method(small.config(builder), backbone, dims, weights)
    loss: Any = sum(method(small.batch(guided)).values())
    loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
