"""The published train.py has the published defaults, whatever `cvgssl pretrain` prefers."""

from pathlib import Path
from typing import Any

import pytest

from cvgssl.cli.published_train import PublishedTrainConfig
from cvgssl.pretrain.config import PretrainConfig


def pretraining(**options: Any) -> PretrainConfig:
    return PublishedTrainConfig(data=Path("steel"), **options).pretraining()


def test_guided_as_published() -> None:
    config = pretraining()
    assert (config.guidance, config.bank, config.epochs) == ("published", 0, 300)
    assert pretraining(guidance="spectral", bank="4").bank == 4


@pytest.mark.parametrize("builder", ["distill", "mocov3", "byol"])
def test_other_builders(builder: str) -> None:
    assert pretraining(builder=builder).builder == builder


def test_one_strong_view_without_multi_crop() -> None:
    config = pretraining(multi_crop=False, save=Path("there"))
    assert len(config.recipes) == 2
    assert config.out == Path("there")
