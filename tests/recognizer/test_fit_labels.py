"""Which pictures `cvgssl fit` takes as labelled, and what it says of lists that do not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from cvgssl.adapt.draws import draw
from cvgssl.features.embed import Embedded
from cvgssl.features.table import FeatureTable
from cvgssl.heads import ALL_HEADS, TEXT_HEADS
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.labelling import UnlabelledFeatures, labelled_train
from cvgssl.runtime.errors import UserError

TRAIN = [f"train/{name}/{number}.png" for name in ("crack", "pit") for number in range(4)]


def table(classes: bool = True) -> FeatureTable:
    names = (*TRAIN, "test/crack/9.png", "test/pit/9.png")
    labels = [names.split("/")[1] == "pit" if classes else -1 for names in names]
    return FeatureTable(
        np.zeros((10, 2), np.float32),
        names,
        np.array(labels, np.int64),
        ("train",) * 8 + ("test",) * 2,
        ("crack", "pit") if classes else (),
    )


def config(**options: Any) -> FitConfig:
    return FitConfig(**({"data": "d", "encoder": ("resnet18",), "out": "none-such"} | options))


def listed(tmp_path: Path, *lines: str) -> FitConfig:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    return config(labels=path)


def test_a_draw_is_that_of_all_methods() -> None:
    found = labelled_train(table(), config(shot=2, seed=5))
    (support,) = draw(table().dataset(), 2, 1, 5).supports
    drawn = {name for names in support.values() for name in names}
    assert {name for name, label in zip(found.names, found.labels, strict=True) if label >= 0} == (
        drawn
    )
    assert list(found.names) == TRAIN and found.classes == ("crack", "pit")
    for name, label in zip(found.names, found.labels, strict=True):
        assert label == (-1 if name not in drawn else ("crack", "pit").index(name.split("/")[1]))


@pytest.mark.parametrize("classes", [True, False])
def test_a_list_filled_in_by_people(tmp_path: Path, classes: bool) -> None:
    lines = [f"{TRAIN[1]},crack", f"{TRAIN[2]},", f"{TRAIN[3]},?", f"{TRAIN[5]}, pit"]
    found = labelled_train(table(classes), listed(tmp_path, *lines))
    assert found.labels.tolist() == [-1, 0, -1, -1, -1, 1, -1, -1]
    assert found.classes == ("crack", "pit")


def test_labels_of_unreadable_pictures_are_left_out_where_those_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "d/train/pit").mkdir(parents=True)
    (tmp_path / "d/train/pit/bad.png").write_bytes(b"no picture")
    lines = [f"{TRAIN[1]},crack", f"{TRAIN[5]},pit", "train/pit/bad.png,pit"]
    options = replace(listed(tmp_path, *lines), data=tmp_path / "d")
    with pytest.raises(UserError, match=r"labels 1 picture not in DATA, the first train/pit/bad"):
        labelled_train(table(), options)
    found = labelled_train(table(), replace(options, skip_corrupt=True))
    assert found.labels.tolist() == [-1, 0, -1, -1, -1, 1, -1, -1]
    assert "1 label left out, because the pictures cannot be read" in caplog.text
    (tmp_path / "d/train/pit/bad.png").unlink()
    with pytest.raises(UserError, match=r"labels 1 picture not in DATA, the first train/pit/bad"):
        labelled_train(table(), replace(options, skip_corrupt=True))


def test_classes_are_those_of_the_list_where_folders_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"{TRAIN[0]},scale", f"{TRAIN[1]},dent", f"{TRAIN[4]},scale"]
    found = labelled_train(table(classes=False), listed(tmp_path, *lines))
    assert found.classes == ("dent", "scale")
    assert not caplog.messages
    labelled_train(table(classes=False), listed(tmp_path, *lines, f"{TRAIN[2]},scael"))
    (warning,) = caplog.messages
    assert "list.csv: 'scael' (1) and 'scale' (2) are almost the same name" in warning
    assert found.labels.tolist() == [1, 0, -1, -1, 1, -1, -1, -1]


@pytest.mark.parametrize(
    ("classes", "lines", "message"),
    [
        (True, [], "no picture has a label; fill in the column label"),
        (True, [f"{TRAIN[0]},", f"{TRAIN[1]},?"], "no picture has a label"),
        (True, ["train/crack/77.png,crack"], r"labels 1 picture not in DATA, .*77\.png in line 2"),
        (True, [f"{TRAIN[0]},crack", "test/pit/9.png,pit"], "1 test picture, .*only train"),
        (
            True,
            [f"{TRAIN[0]},pit"],
            "line 2: .*labelled pit, but is in the class crack; .*--class-folders",
        ),
        (True, [f"{TRAIN[0]},crack"], r"no picture of pit; `cvgssl select --labels .*list\.csv`"),
        (False, [f"{TRAIN[0]},crack"], "only one class, crack"),
        (True, [f"{TRAIN[0]},crack", f"{TRAIN[0]},crack"], "line 3: .* is in line 2"),
    ],
)
def test_lists_that_do_not_fit(
    tmp_path: Path, classes: bool, lines: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        labelled_train(table(classes), listed(tmp_path, *lines))
    assert str(caught.value).startswith("--labels ") and "\n" not in str(caught.value)


def test_a_missing_list_is_noticed_before_pictures_are_embedded(tmp_path: Path) -> None:
    options = FitConfig(
        data=tmp_path / "absent", labels=tmp_path / "none.csv", out=tmp_path / "out"
    )
    with pytest.raises(UserError, match=r"^--labels .*none\.csv: no such file$"):
        fit(options)


def test_draws_that_cannot_be_made() -> None:
    with pytest.raises(UserError, match="--shot 2: DATA has no class folders"):
        labelled_train(table(classes=False), config(shot=2))
    with pytest.raises(UserError, match="--shot 5: too few training pictures"):
        labelled_train(table(), config(shot=5))
    with pytest.raises(UserError, match=r"--labels none\.csv: no such file"):
        labelled_train(table(), config(labels="none.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"--labels FILE\.csv \(or --shot K"),
        ({"labels": "a.csv", "shot": 2}, "--labels, --shot: name one"),
        ({"shot": 1, "class_folders": False}, "--shot: draws from class folders"),
        ({"shot": 0}, "greater than or equal to 1"),
        ({"shot": 1, "encoder": ()}, "--encoder: name at least one"),
        ({"shot": 1, "pooling": "gem"}, "--pooling gem"),
        ({"shot": 1, "head": "text-mean"}, "no such head; there are .*auto.*text-ridge"),
        ({"shot": 1, "prompts": "p.yaml"}, "--prompts: has no effect with --head auto; leave it"),
        (
            {"shot": 1, "head": "zero-shot", "preparation": "power"},
            "--preparation power: would move pictures away from the texts that --head zero-shot",
        ),
        ({"shot": 1, "out": "/"}, "--out /: exists"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        config(**options)


@pytest.mark.parametrize("name", ALL_HEADS)
def test_all_heads_are_offered(name: str) -> None:
    offered = config(shot=1, head=name)
    assert offered.head == name
    assert offered.prepared == ("none" if name in TEXT_HEADS else "power")
    assert config(shot=1, head=name, preparation="none").prepared == "none"


def unlabelled(copies: dict[str, str]) -> UnlabelledFeatures:
    """Three pictures of another folder, of which the first two are in no other."""
    names = ("more/a", "more/b", *copies)
    extra = FeatureTable(
        np.ones((len(names), 2), np.float32),
        tuple(name.removeprefix("more/") for name in names),
        np.full(len(names), -1),
        ("train",) * len(names),
        (),
    )
    count = len(names)
    paths = tuple(map(Path, names))
    embedded = Embedded(extra, paths, [], 0, 0, np.arange(count))
    return UnlabelledFeatures(Path("more"), embedded, names, np.arange(2), copies)


def test_pictures_elsewhere_may_have_labels(tmp_path: Path) -> None:
    lines = [f"{TRAIN[0]},crack", "more/b,dent", "more/c,pit"]
    options = listed(tmp_path, *lines)
    found = labelled_train(table(classes=False), options, unlabelled({"more/c": TRAIN[5]}))
    labelled = {
        n: found.classes[k] for n, k in zip(found.names, found.labels, strict=True) if k >= 0
    }
    assert labelled == {TRAIN[0]: "crack", TRAIN[5]: "pit", "more/b": "dent"}
    assert found.names == (*TRAIN, "more/a", "more/b") and len(found.values) == 10


def test_copies_of_test_pictures_are_never_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"{TRAIN[0]},crack", f"{TRAIN[5]},pit", "more/c,pit"]
    options = listed(tmp_path, *lines)
    found = labelled_train(table(), options, unlabelled({"more/c": "test/pit/9.png"}))
    assert (found.labels >= 0).sum() == 2
    assert "a copy of a test picture of --unlabelled left out" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"{TRAIN[5]},pit", "more/c,crack"], "line 4: more/c is crack, but .* pit in line 3"),
        (["more/a,dent", f"{TRAIN[5]},pit"], "line 3: more/a is labelled dent, which is no class"),
        (["more/z,pit"], "labels 1 picture not in DATA"),
    ],
)
def test_labels_elsewhere_that_do_not_fit(tmp_path: Path, lines: list[str], message: str) -> None:
    options = listed(tmp_path, f"{TRAIN[0]},crack", *lines)
    with pytest.raises(UserError, match=message):
        labelled_train(table(), options, unlabelled({"more/c": TRAIN[5]}))
