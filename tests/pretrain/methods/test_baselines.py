"""Methods without teachers: they learn, do not collapse, and their targets follow."""

import copy
import math
import subprocess
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from torch import Tensor, nn

from cvgssl.encoders.backbone import build_backbone
from cvgssl.images.surfaces import KINDS, generate_surface
from cvgssl.pretrain.methods.base import Batch, Method
from cvgssl.pretrain.methods.build import build_method
from cvgssl.pretrain.methods.components import momentum_at

BUILDERS = ("mocov3", "simclr", "byol", "simsiam", "dino")
MOMENTUM = ("mocov3", "byol", "dino")
STEPS = 20


def need_lightly(builder: str) -> None:
    if builder != "mocov3":
        pytest.importorskip("lightly")


@cache
def pictures() -> Tensor:
    """Four generated surfaces of each class: float32 0..1 [24, 1, 40, 40]."""
    made = [generate_surface(kind, 1, index, 40) for kind in KINDS for index in range(4)]
    return torch.from_numpy(np.stack(made)[:, None]).float() / 255


def views(generator: torch.Generator, count: int = 3) -> tuple[Tensor, ...]:
    """Crops of 32 px, mirrored or not, brighter or darker; per picture."""

    def view(picture: Tensor) -> Tensor:
        top, left, mirror = torch.randint(0, 8, (3,), generator=generator).tolist()
        crop = picture[:, top : top + 32, left : left + 32]
        factor = 0.8 + 0.4 * torch.rand(1, generator=generator)
        return (crop.flip(-1) if mirror % 2 else crop) * factor

    return tuple(torch.stack([view(p) for p in pictures()]).clamp(0, 1) for _ in range(count))


def train(builder: str) -> tuple[Method, dict[str, Tensor], list[float]]:
    """The trained method, its state before, and the losses."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"mlp_dim": 64, "out_dim": 32}
    if builder in ("mocov3", "byol", "dino"):
        options["target_momentum"] = 0.9
    if builder == "mocov3":
        options["t1"] = 0.2
    method = build_method(small.config(builder, **options), build_backbone("test_resnet", 32))
    start = copy.deepcopy(method.state_dict())
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for step in range(STEPS):
        batch = Batch(views(generator), (), step / STEPS)
        loss: Any = sum(method(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step((step + 1) / STEPS)
        losses.append(loss.item())
    return method, start, losses


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_loss_falls_and_the_embedding_does_not_collapse(builder: str) -> None:
    need_lightly(builder)
    method, start, losses = train(builder)
    assert all(map(math.isfinite, losses))
    if builder == "dino":  # its target sharpens meanwhile: compare under the target of the end
        state = copy.deepcopy(method.state_dict())
        online = {n: x for n, x in start.items() if n.startswith(("backbone.", "head."))}
        batch = Batch(views(torch.Generator().manual_seed(2)), (), 1.0)
        after = method(batch)["cross_entropy"].item()
        method.load_state_dict(state | online)
        before = method(batch)["cross_entropy"].item()
        method.load_state_dict(state)
    else:
        before, after = float(np.mean(losses[:3])), float(np.mean(losses[-3:]))
    assert after < before - 0.05
    with torch.no_grad():
        embedded = nn.functional.normalize(method.backbone.eval()(pictures()), dim=1)
    spread = torch.linalg.svdvals(embedded - embedded.mean(0))
    share = spread / spread.sum()
    assert spread.square().sum() / len(embedded) > 0.3, "all pictures became one point"
    assert torch.exp(-(share * share.log()).sum()) > 9, "few directions are left"


@pytest.mark.parametrize("builder", MOMENTUM)
def test_the_target_starts_equal_and_follows_by_its_momentum(builder: str) -> None:
    need_lightly(builder)
    method: Any = small.method(builder, target_momentum=0.9)
    online = [method.backbone, method.head if builder == "dino" else method.projector]
    trained = [p for module in online for p in module.parameters()]
    start = [p.clone() for p in method.target.parameters()]
    for slow, fast in zip(start, trained, strict=True):
        assert torch.equal(slow, fast)
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(1)
    method.after_step(0.5)
    momentum = momentum_at(0.9, 0.5)
    for slow, before in zip(method.target.parameters(), start, strict=True):
        torch.testing.assert_close(slow, before + (1 - momentum))
    after = [p.clone() for p in method.target.parameters()]
    method.after_step(1.0)
    assert all(map(torch.equal, after, method.target.parameters())), "at the end it no longer moves"


def test_momentum_rises_from_its_start_to_one() -> None:
    assert [momentum_at(0.99, x) for x in (0, 0.5, 1)] == pytest.approx([0.99, 0.995, 1])


@pytest.mark.parametrize("builder", MOMENTUM)
def test_no_gradient_reaches_the_target_and_a_resumed_one_goes_on(builder: str) -> None:
    need_lightly(builder)
    method: Any = small.method(builder)
    batch = small.batch(guided=False)
    loss: Any = sum(method(batch).values())
    loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.mul_(1.1)
    torch.manual_seed(99)
    other = build_method(small.config(builder), build_backbone("test_resnet", small.SIDE))
    other.load_state_dict(method.state_dict())
    assert [v.item() for v in other(batch).values()] == [v.item() for v in method(batch).values()]


def test_simsiam_holds_its_targets_fixed() -> None:
    """With the predictor's weights at zero nothing but a held target could move the backbone."""
    need_lightly("simsiam")
    method: Any = small.method("simsiam")
    with torch.no_grad():
        for parameter in method.predictor.parameters():
            parameter.zero_()
        method.predictor.layers[-1].bias.fill_(1)  # predicts the same for everything
    method(small.batch(guided=False))["distance"].backward()
    moved = [p.grad.abs().max().item() for p in method.backbone.parameters() if p.grad is not None]
    assert max(moved) == 0
    assert method.predictor.layers[-1].bias.grad.abs().max() > 0


def test_a_missing_extra_is_named(python: str) -> None:
    code = """
        import sys
        sys.modules["lightly"] = None  # what importing a package that is not there runs into
        import small
        from cvgssl.runtime.errors import UserError
        for builder in ("simclr", "byol", "simsiam", "dino"):
            try:
                small.method(builder)
            except UserError as error:
                print(error)
        small.method("mocov3")  # needs no extra
    """
    done = subprocess.run(
        [python, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"--builder {builder}: needs lightly; pip install 'cvgssl[baselines]'"
        for builder in ("simclr", "byol", "simsiam", "dino")
    ]


def test_lightly_is_loaded_without_network_and_without_lightning(python: str) -> None:
    pytest.importorskip("lightly")
    code = """
        import sys
        calls = []
        sys.addaudithook(lambda event, _: event.startswith("socket.") and calls.append(event))
        from cvgssl.pretrain.methods.components import lightly_parts
        lightly_parts()
        print(calls, "pytorch_lightning" in sys.modules)
    """
    done = subprocess.run([python, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout == "[] False\n", done.stdout + done.stderr
