"""Batches too small for batch norm join another, or are refused before anything is written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvgssl.adapt.batches import needs_two, split_batches
from cvgssl.adapt.config import FinetuneConfig
from cvgssl.adapt.model_source import load_model_source
from cvgssl.adapt.protocol import adapt
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.run import RunFolder

SHORT: dict[str, Any] = {"shot": 1, "num_draws": 1, "epochs": 1, "image_size": 32}


@pytest.mark.parametrize(
    ("size", "least", "sizes"),
    [(3, 1, [3, 3, 1]), (3, 2, [3, 4]), (5, 2, [5, 2]), (5, 3, [7]), (9, 2, [7]), (7, 7, [7])],
)
def test_a_rest_that_is_too_small_joins_the_batch_before(
    size: int, least: int, sizes: list[int]
) -> None:
    batches = split_batches(torch.arange(7), size, least)
    assert [len(rows) for rows in batches] == sizes
    assert torch.cat(batches).tolist() == list(range(7))


@pytest.mark.parametrize(
    ("arch", "side", "trainable", "expected"),
    [
        ("resnet10t", 32, "all", True),
        ("resnet10t", 32, "head", False),  # statistics stay as they are
        ("resnet10t", 64, "all", False),  # 2 x 2 values of every channel are left
        ("test_vit", 32, "all", False),
    ],
)
def test_which_networks_cannot_train_on_one_picture(
    arch: str, side: int, trainable: str, expected: bool
) -> None:
    config = FinetuneConfig(data=Path(), arch=arch, image_size=side, trainable=trainable)
    model = load_model_source(config, ("a", "b"), Geometry(side)).recognizer(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = np.full((1, 3, side, side), 100, np.uint8)
    assert needs_two(model, pixels) == expected
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_last_batch_of_one_picture_is_trained_on(
    steel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FinetuneConfig(
        data=steel, arch="resnet10t", batch_size=5, out=tmp_path / "run", **SHORT
    )
    log = RunFolder.log

    def killed(folder: RunFolder, line: str) -> None:
        log(folder, line)
        raise OSError("killed")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(RunFolder, "log", killed)
        adapt(config)
    folder, _ = adapt(replace(config, out=None, resume=tmp_path / "run"))
    assert len(RunFolder(folder).rows()) == 1


def test_single_pictures_are_refused_before_any_work(steel: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(
        data=steel, arch="resnet10t", batch_size=1, out=tmp_path / "run", **SHORT
    )
    message = "--batch-size 1: the batch norm of resnet10t needs two pictures; take at least 2"
    with pytest.raises(UserError, match=message):
        adapt(config)
    assert list(tmp_path.iterdir()) == []
    folder, _ = adapt(replace(config, arch="test_vit"))
    assert len(RunFolder(folder).rows()) == 1
