"""Texts of classes in files of features: what a head is made with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.encoders.text_anchors import TextAnchors
from cvgssl.features.class_texts import head_options, texts_table
from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.runtime.errors import UserError

NAMES = ("a/b", "pit, deep", "..", "夹杂")


@pytest.fixture
def anchors() -> TextAnchors:
    values = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    prompts = {name: (f"a photo of {name}.", "steel.") for name in NAMES}
    return TextAnchors(NAMES, values, 55.5, prompts, {"file": "clip.pt", "sha256": "0" * 64})


def test_they_come_back_in_the_order_of_the_classes(anchors: TextAnchors, tmp_path: Path) -> None:
    classes = tuple(sorted(NAMES[:3]))  # one of them was labelled nowhere
    save_features(texts_table(anchors, classes), tmp_path / "texts.npz")
    read = load_features(tmp_path / "texts.npz")
    assert read.classes == classes and {*read.about["prompts"]} == {*classes}
    options = head_options(read)
    assert options["anchor_scale"] == 55.5
    for name, row in zip(classes, options["anchors"], strict=True):
        assert np.array_equal(row, anchors.values[NAMES.index(name)])


@pytest.mark.parametrize("scale", [None, "1", True, 0, -3.0, float("nan"), 10**400])
def test_a_scale_that_is_none(anchors: TextAnchors, scale: Any) -> None:
    table = texts_table(anchors, NAMES)
    about = table.about | {"scale": scale}
    with pytest.raises(UserError, match="have no scale"):
        head_options(replace(table, about=about))


def test_each_class_has_one_row(anchors: TextAnchors) -> None:
    table = texts_table(anchors, NAMES)

    def labelled(*labels: int) -> FeatureTable:
        return replace(table, labels=np.array(labels))

    assert np.array_equal(head_options(labelled(1, 0, 3, 2))["anchors"][0], anchors.values[1])
    for labels in ((0, 1, 2, 2), (0, 1, 2, -1)):
        with pytest.raises(UserError, match="texts are not one row for each class"):
            head_options(labelled(*labels))
