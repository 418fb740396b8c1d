"""Mistakes in the options of pre-training, all found at once."""

from pathlib import Path

import pydantic
import pytest

from cvgssl.pretrain.config import PretrainConfig


def test_default_views_are_the_published_ones() -> None:
    weak, *strong = PretrainConfig(data=Path("steel")).recipes
    assert (weak.size, weak.gray, weak.blur, weak.flip_x, weak.flip_y) == (224, 0, 0, 0.5, 0.5)
    assert [recipe.scale for recipe in strong] == [
        (0.2, 1.0), (0.172, 0.86), (0.143, 0.715), (0.114, 0.571)
    ]  # fmt: skip
    assert {(r.size, r.gray, r.blur, r.blur_sigma, r.flip_y) for r in strong} == {
        (224, 0.2, 0.5, (0.1, 2.0), 0)
    }
    assert {(r.brightness, r.contrast) for r in (weak, *strong)} == {(0.2, 0.2)}


def test_kinds_of_strong_views() -> None:
    config = PretrainConfig(
        data=Path("steel"),
        view_size=96,
        nmb_crops=(1, 3),
        size_crops=(96, 48),
        min_scale_crops=(0.4, 0.05),
        max_scale_crops=(1.0, 0.4),
    )
    assert [recipe.size for recipe in config.recipes] == [96, 96, 48, 48, 48]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        PretrainConfig(
            data=Path("steel"),
            builder="byol",
            margin=0.3,
            teacher=("RN50",),
            bank="4",  # type: ignore[arg-type]
            max_scale_crops=(1.0,),
            epochs=5,
        )
    text = str(caught.value)
    for flag in ("--teacher", "--bank", "--margin", "--max-scale-crops", "--warmup-epochs"):
        assert flag in text


@pytest.mark.parametrize(("word", "size"), [("off", 0), (False, 0), ("8", 8), (3, 3)])
def test_bank_off_or_a_number(word: object, size: int) -> None:
    assert PretrainConfig(data=Path("steel"), guidance="published", bank=word).bank == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"min_scale_crops": (0.2, 0.172, 0.143, 0.9)},
        {"weak_scale": (0.0, 1.0)},
        {"nmb_crops": (0, 0, 0, 0)},
        {"size_crops": (4, 4, 4, 4)},
    ],
)
def test_impossible_views(options: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError, match="crop"):
        PretrainConfig(data=Path("steel"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"guidance": "relational", "neighbours": 5}, "--neighbours"),
        ({"guidance": "published", "relation_temperature": 0.2}, "--relation-temperature"),
        ({"self_constraint": "margin"}, "--self-constraint"),
        ({"builder": "simclr", "t1": 0.2}, "--t1"),
        ({"builder": "distill", "guidance": "relational"}, "--guidance"),
        ({"bank": 0}, "--guidance spectral: needs stored views"),
    ],
)
def test_options_without_effect_are_told(options: dict[str, object], flag: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=flag):
        PretrainConfig(data=Path("steel"), **options)  # type: ignore[arg-type]
