"""Learning rates and optimizers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.loop import build_optimizer, learning_rate


def config(**options: object) -> PretrainConfig:
    return PretrainConfig(data=Path("steel"), **options)  # type: ignore[arg-type]


def test_warm_up_then_cosine() -> None:
    options = config(epochs=110, warmup_epochs=10, lr=0.3)
    rates = {epoch: learning_rate(options, epoch) for epoch in (0, 5, 10, 35, 60, 110)}
    expected = {0: 0, 5: 0.15, 10: 0.3, 35: 0.3 * (1 + 2**-0.5) / 2, 60: 0.15, 110: 0}
    assert rates == pytest.approx(expected)
    assert learning_rate(config(warmup_epochs=0, lr=0.2), 0) == pytest.approx(0.2)


def test_rate_scaled_by_batch() -> None:
    options = config(lr=0.4, batch_size=64, scale_lr=True, warmup_epochs=0)
    assert learning_rate(options, 0) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_each_optimizer_lowers_a_loss_and_leaves_frozen_weights(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    frozen = model[0].bias.requires_grad_(False).clone()
    rate = {"sgd": 0.05, "lars": 1.0}.get(name, 0.01)
    optimizer = build_optimizer(model, config(optimizer=name, lr=rate, weight_decay=1e-4))
    x = torch.randn(64, 4)
    losses = []
    for _ in range(40):
        loss = (model(x).squeeze() - x[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert torch.equal(model[0].bias, frozen)
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays[id(model[0].weight)] == 1e-4
    assert decays[id(model[3].bias)] == (0.0 if name in ("adamw", "lars") else 1e-4)
