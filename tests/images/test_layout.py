"""Which folders are splits and which are classes."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from cvgssl.images.check import check_data
from cvgssl.images.layout import check_split_words, layout_of
from cvgssl.images.scan import load_dataset
from cvgssl.runtime.errors import UserError


def data(root: Path, *folders: str) -> Path:
    for number, folder in enumerate(folders):
        for label in ("a", "b"):
            for i in range(2):
                path = root / folder / label / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                level = 40 * number + 20 * i + (label == "b") * 10
                Image.new("L", (8, 8), level).save(path)
    return root


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("training", "validation"), "training/, validation/ are splits under another name"),
        (("Training", "Testing"), "are splits under another name"),
        (("train_set", "val2017"), "are splits under another name"),
        (("train-images", "test-images"), "are splits under another name"),
        (("dev", "eval"), "are splits under another name"),
        (("images_train", "images_test"), "are splits under another name"),
        (("NEU-CLS-train", "NEU-CLS-val"), "are splits under another name"),
        (("train_x", "test_x"), "are splits under another name"),
        (("обучение", "тест"), "are splits under another name"),
        (("학습", "시험"), "are splits under another name"),
        (("学習データ", "テストデータ"), "are splits under another name"),
        (("labelled", "unlabelled"), "are splits under another name"),
        (("fold_1", "fold_2"), "are splits under another name"),
        (("Trainingsdaten", "Prüfdaten", "Testdaten"), "beside Prüfdaten/"),
        (("训练集", "测试集"), "are splits under another name"),
        (("validation",), "validation/ is a split under another name"),
        (("crack", "dent", "test"), "test/ beside crack/, dent/: is it a split or a class?"),
        (("crack", "training"), "training/ beside crack/: is it a split or a class?"),
        (("train", "test", "crack"), "crack/ beside train/ and test/ would be left out; move it"),
        (("train", "Train", "test"), "has both"),
    ],
)
def test_layouts_that_are_refused(tmp_path: Path, folders: tuple[str, ...], told: str) -> None:
    root = data(tmp_path / "D", *folders)
    for job in (load_dataset, check_data, layout_of):
        with pytest.raises(UserError) as caught:
            job(root)
        assert str(caught.value).startswith(f"{root}: ")
        assert told in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "folders",
    [
        ("valid", "invalid"),
        ("learn", "crack"),
        ("tested", "good"),
        ("train_new", "train_old"),
        ("wheel_test", "crack"),
    ],
)
def test_words_that_can_be_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = data(tmp_path, *folders)
    assert layout_of(root).halves == {}
    assert set(load_dataset(root).train.classes) == set(folders)


def test_classes_inside_train_may_have_any_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        data(tmp_path / split, "valid", "test")
    assert load_dataset(tmp_path).train.classes == ("test", "valid")


def test_each_class_with_its_own_splits_is_refused(tmp_path: Path) -> None:
    for label in ("crack", "dent"):
        data(tmp_path / label, "train", "test")
    with pytest.raises(UserError, match="each folder has its own splits"):
        load_dataset(tmp_path)


def test_val_beside_train_and_test_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = data(tmp_path, "train", "test", "val")
    with caplog.at_level(logging.WARNING):
        assert len(load_dataset(root).train) == 4
    assert "val/ left out; only train/ and test/ are used" in caplog.text
    (finding,) = [item for item in check_data(root).findings if item.kind == "left_out_folder"]
    assert finding.severity == "warning"


def test_half_a_layout_with_another_name_for_the_other_half(tmp_path: Path) -> None:
    root = data(tmp_path, "train", "val")
    with pytest.raises(UserError, match="has train/ but no test/; rename val/ to test"):
        load_dataset(root)
    report = check_data(root)
    assert report.spoiled
    assert [item.message for item in report.findings if item.kind == "left_out_folder"] == [
        "left out: val/; rename it to test"
    ]


def test_folders_without_pictures_are_of_no_account(tmp_path: Path) -> None:
    root = data(tmp_path, "train", "test")
    (root / "annotations").mkdir()
    (root / "annotations/a.xml").touch()
    (root / "val").mkdir()
    assert layout_of(root).beside == ()


def test_unlabelled_pictures_in_splits_under_other_names(tmp_path: Path) -> None:
    check_split_words(data(tmp_path / "a", "test", "shots"))
    check_split_words(data(tmp_path / "b", "valid", "shots"))
    with pytest.raises(UserError, match="under another name"):
        check_split_words(data(tmp_path / "c", "training", "validation"))
