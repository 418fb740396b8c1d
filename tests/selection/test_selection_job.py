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
    assert select(table().split("train"), 6) == first


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
    with pytest.raises(UserError, match=r"--labels: names 1 picture not in DATA.*no\.png"):
        select(table(), 3, labelled=[LabelLine(2, "train/no.png", "a")])
    with pytest.raises(UserError, match=r"--labels: names 1 test picture, .*test/35\.png"):
        select(table(), 3, labelled=[LabelLine(2, "test/35.png", "a")])
    with pytest.raises(UserError, match="no train pictures"):
        select(table().split("test"), 3)


def test_a_label_that_the_others_contradict_and_what_they_are_worth(tmp_path: Path) -> None:
    """Picture i is of group i % 3; one of group a is labelled b."""
    lines = [LabelLine(i, f"train/{i:02}.png", "abc"[i % 3]) for i in range(24)]
    fine = select(table(), 2, labelled=lines)
    assert fine.held_out is not None and fine.held_out.right == fine.held_out.held_out == 24
    assert fine.held_out.low == pytest.approx(86.2, abs=0.1) and fine.suspected == ()
    assert "24 of 24 labels are predicted right" in str(fine.held_out)
    assert "86 to 100 %" in str(fine.held_out)
    lines[9] = lines[9]._replace(label="b")
    found = select(table(), 2, labelled=lines)
    assert found.suspected[0] == ("train/09.png", "b", "a")
    write_selection(found, tmp_path, {})
    facts = json.loads((tmp_path / "selection.json").read_text())
    assert facts["suspected"][0] == {"path": "train/09.png", "label": "b", "instead": "a"}
    assert facts["held_out"]["held_out"] == 24


def test_too_few_labels_for_an_estimate() -> None:
    one_each = [LabelLine(i, f"train/{i:02}.png", "abc"[i]) for i in range(3)]
    found = select(table(), 2, labelled=one_each)
    assert found.held_out is not None and found.held_out.too_few and found.held_out.low is None
    assert "too few labels to tell" in str(found.held_out)
    several = [LabelLine(i, f"train/{i:02}.png", "abc"[i % 3]) for i in range(6)]
    found = select(table(), 2, labelled=several)
    assert found.held_out is not None and found.held_out.held_out == 6 and found.held_out.too_few
    assert str(found.held_out).endswith(": too few to tell")
    at_random = [LabelLine(i, f"train/{i:02}.png", "abc"[(i + i // 3) % 3]) for i in range(24)]
    found = select(table(), 2, labelled=at_random)
    assert found.held_out is not None and found.held_out.no_better and found.held_out.commonest == 8
    assert "the commonest class for all of them would be right for 8" in str(found.held_out)
    of_one_class = [LabelLine(i, f"train/{i:02}.png", "a") for i in (0, 3, 6, 9)]
    found = select(table(), 2, labelled=of_one_class)
    assert found.held_out is not None and found.held_out.low is None
