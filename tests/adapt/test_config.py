from pathlib import Path
from typing import Any

import pydantic
import pytest

from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.runtime.options import explain, fields_of


def test_defaults_are_the_published_ones() -> None:
    config = FinetuneConfig(data=Path("d"))
    assert (config.optimizer, config.lr, config.momentum) == ("sgd", 0.003, 0.9)
    assert (config.weight_decay, config.epochs, config.batch_size) == (1e-4, 100, 256)
    assert (config.image_size, config.num_draws, config.augment) == (224, 5, False)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"shot": 0}, "--shot 0"),
        ({"num_draws": 0}, "--num-draws 0"),
        ({"imbalance": 0.5}, "--imbalance 0.5"),
        ({"class_num": 1}, "--class-num 1"),
        ({"test_fraction": 1.0}, "--test-fraction 1.0"),
        ({"image_size": 8}, "--image-size 8"),
        ({"bit_depth": 7}, "--bit-depth 7"),
        ({"lr": 0}, "--lr 0"),
        ({"lr": float("inf")}, "--lr inf"),
        ({"momentum": 1}, "--momentum 1"),
        ({"label_smoothing": 1}, "--label-smoothing 1"),
        ({"ema": 1}, "--ema 1"),
        ({"gpu": -1}, "--gpu -1"),
        ({"optimizer": "lamb"}, "--optimizer lamb"),
        ({"precision": "fp8"}, "--precision fp8"),
        ({"track": ("neptune",)}, "--track neptune"),
        ({"arch": ""}, "--arch"),
        ({"layer_decay": 0}, "--layer-decay 0"),
        ({"epochs": 3, "start_epoch": 3}, "--start-epoch 3"),
        ({"draws": "d.json", "imbalance": 2}, "--imbalance"),
    ],
)
def test_impossible_options_are_told_by_their_flag(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        FinetuneConfig(data=Path("d"), **options)
    (line,) = explain(caught.value)
    assert line.startswith(flag)
    assert "\n" not in line


def test_every_option_explains_itself() -> None:
    for name, field in fields_of(FinetuneConfig).items():
        assert field.description, name


def test_linear_evaluation_has_no_options_that_only_fine_tuning_uses() -> None:
    assert set(fields_of(FinetuneConfig)) - set(fields_of(LinearConfig)) == {
        "augment",
        "labelled_share",
        "layer_decay",
        "lora_alpha",
        "unlabelled",
        "unlabelled_share",
        "pseudo_labels",
        "trainable",
    }
    with pytest.raises(pydantic.ValidationError):
        LinearConfig(data=Path("d"), augment=True)  # type: ignore[call-arg]


def test_options_that_do_not_fit_together_are_told_of_at_once() -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        FinetuneConfig(data=Path(), epochs=2, start_epoch=5, unlabelled=Path("more"))
    lines = explain(error.value)
    assert [line.partition(":")[0] for line in lines] == ["--start-epoch 5", "--unlabelled more"]
