"""docs/plain_pytorch.md runs, and its loop is that of the package."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cvgssl.encoders.backbone import build_backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.loop import learning_rate
from cvgssl.pretrain.methods.base import Batch
from cvgssl.pretrain.methods.build import build_method

PAGE = Path(__file__).parents[2] / "docs" / "plain_pytorch.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's block defines, after it has run."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {"__name__": "plain"}
    folder, threads = tmp_path_factory.mktemp("plain"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.chdir(folder)
        exec(block, names)
    torch.set_num_threads(threads)
    assert (folder / "backbone.pth").exists()
    return names


@pytest.fixture(scope="module")
def config(page: dict[str, Any]) -> PretrainConfig:
    """The published recipe, with the sizes of the page."""
    return PretrainConfig(
        data=Path(),
        guidance="published",
        self_constraint="published",
        arch="test_resnet",
        epochs=page["EPOCHS"],
        warmup_epochs=page["WARMUP"],
        view_size=page["SIDE"],
        mlp_dim=page["HIDDEN"],
        out_dim=page["OUT"],
        adapter_dim=page["ADAPTER_HIDDEN"],
    )


def test_same_loss_and_gradients_with_the_same_weights(
    page: dict[str, Any], config: PretrainConfig
) -> None:
    backbone = build_backbone("test_resnet", page["SIDE"])
    dims = [net.num_features for net, _, _ in page["teachers"]]
    method: Any = build_method(config, backbone, dims, [1.0] * len(dims))
    method.backbone.body.load_state_dict(page["backbone"].state_dict())
    method.projector.load_state_dict(page["projector"].state_dict())
    method.predictor.load_state_dict(page["predictor"].state_dict())
    for own, other in zip(method.adapters, page["adapters"], strict=True):
        own.load_state_dict(other.state_dict())
    generator = torch.Generator().manual_seed(1)
    shape = len(page["SCALES"]), page["BATCH"]
    views = torch.rand(*shape, 3, page["SIDE"], page["SIDE"], generator=generator)
    features = [torch.randn(*shape, dim, generator=generator) for dim in dims]

    method.train()
    loss = sum(method(Batch(tuple(views), tuple(features), 0.0)).values())
    loss.backward()
    plain = page["objective"](list(views), features)
    page["optimizer"].zero_grad()
    plain.backward()

    assert plain.item() == pytest.approx(loss.item(), rel=1e-5)
    for part in ("projector", "predictor", "adapters"):
        theirs = page[part] if part != "adapters" else torch.nn.ModuleList(page[part])
        for own, other in zip(getattr(method, part).parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(other.grad, own.grad, rtol=1e-3, atol=1e-5)


def test_same_learning_rate_and_views(page: dict[str, Any], config: PretrainConfig) -> None:
    assert page["LR"] == config.lr and page["T"] == config.t1
    for epochs in (0, 0.5, 1, 1.3, 2):
        assert page["rate"](epochs) == pytest.approx(learning_rate(config, epochs))
    assert page["SCALES"] == [recipe.scale for recipe in config.recipes]
    (group,) = page["optimizer"].param_groups
    assert (group["momentum"], group["weight_decay"]) == (config.momentum, config.weight_decay)
