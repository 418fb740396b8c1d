import json
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features.table import FeatureTable
from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import LabelLine, read_labels
from cvgssl.selection.select import select, write_selection


def table(labels_told: bool = True) -> FeatureTable:
    """30 train and 10 test pictures of three groups."""
    rng = np.random.default_rng(0)
    group = np.arange(40) % 3
    values = 3 * np.eye(8)[group] + 0.1 * rng.normal(size=(40, 8))
    splits = ("train",) * 30 + ("test",) * 10
    names = tuple(f"{split}/{i:02}.png" for i, split in enumerate(splits))
    labels = group if labels_told else np.full(40, -1)
    return FeatureTable(
        values.astype(np.float32), names, labels.astype(np.int64), splits, ("a", "b", "c"), {}
    )


def test_hidden_labels_test_pictures_and_order_change_nothing() -> None:
    first = select(table(), 6)
    assert all(name.startswith("train/") for name in first.chosen)
    assert {int(name[-6:-4]) % 3 for name in first.chosen[:3]} == {0, 1, 2}
    assert select(table(labels_told=False), 6) == first
    assert select(table().take(np.random.default_rng(1).permutation(40)), 6) == first
    assert select(table().part("train"), 6) == first


def test_labels_are_kept_and_their_pictures_not_chosen_again(tmp_path: Path) -> None:
    lines = [
        LabelLine(2, "train/00.png", "a"),
        LabelLine(3, "train/03.png", ""),
        LabelLine(4, "train/06.png", "?"),
    ]
    found = select(table(), 28, labelled=lines)
    assert found.kept == (("train/00.png", "a"), ("train/06.png", "?"))
    everything = {f"train/{i:02}.png" for i in range(30)}
    assert set(found.chosen) == everything - {"train/00.png", "train/06.png"}
    write_selection(found, tmp_path, {"strategy": "medoids"})
    written = read_labels(tmp_path / "selection.csv", "--labels")
    assert [line.label for line in written] == ["a", "?"] + [""] * 28
    assert [line.path for line in written[2:]] == list(found.chosen)
    facts = json.loads((tmp_path / "selection.json").read_text())
    assert facts["labelled_before"] == 2
    assert [one["path"] for one in facts["chosen"]] == list(found.chosen)


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match=r"--budget 31: 30 of 30 train pictures are not labelled"):
        select(table(), 31)
    with pytest.raises(UserError, match=r"--labels: names 1 pictures that are not .*no\.png"):
        select(table(), 3, labelled=[LabelLine(2, "train/no.png", "a")])
    with pytest.raises(UserError, match=r"--labels: names 1 test pictures, .*test/35\.png"):
        select(table(), 3, labelled=[LabelLine(2, "test/35.png", "a")])
    with pytest.raises(UserError, match="no train pictures"):
        select(table().part("test"), 3)
