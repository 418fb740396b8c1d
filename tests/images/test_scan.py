"""Folders and CSVs as people have them, to the same data set every time."""

import logging
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.images.dataset import ImageTable
from cvgssl.images.scan import has_own_split, list_pictures, load_dataset
from cvgssl.images.splits import write_split
from cvgssl.runtime.errors import UserError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path, format="PNG")
    return path


def published(root: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 2) -> Path:
    for split in ("train", "test"):
        for name in classes:
            for i in range(count):
                picture(root / split / name / f"{i}.png")
    return root


def names(table: ImageTable, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in table.paths]


def test_published_layout(tmp_path: Path) -> None:
    picture(tmp_path / "train/scratch/10.png")
    picture(tmp_path / "train/scratch/2.PNG")
    picture(tmp_path / "train/scratch/sub/deeper/1.png")
    picture(tmp_path / "train/Walzfehler Größe 压入/x.png")
    picture(tmp_path / "test/scratch/7.png")
    dataset = load_dataset(tmp_path)
    assert dataset.root == tmp_path
    assert dataset.train.classes == dataset.test.classes == ("Walzfehler Größe 压入", "scratch")
    assert names(dataset.train, tmp_path / "train") == [
        "Walzfehler Größe 压入/x.png",
        "scratch/2.PNG",
        "scratch/10.png",
        "scratch/sub/deeper/1.png",
    ]
    assert dataset.train.labels.tolist() == [0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [1]
    assert dataset.train.labels.dtype == np.int64


def test_clutter_is_left_out(tmp_path: Path) -> None:
    published(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "._0.png", ".hidden/1.png", "__MACOSX/a/0.png", "n.txt"):
        picture(tmp_path / "train/a" / name)
    picture(tmp_path / "train/__MACOSX/a/0.png")
    picture(tmp_path / "train/lost+found/0.png")  # of a disk, where only root may look
    picture(tmp_path / "train/.git/0.png")
    (tmp_path / "train/a/folder.png").mkdir()
    assert names(load_dataset(tmp_path).train, tmp_path / "train") == [
        "a/0.png",
        "a/1.png",
        "b/0.png",
        "b/1.png",
    ]


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    wanted = [f"img{i}.png" for i in range(30)]
    for name in np.random.default_rng(0).permutation(wanted):
        picture(tmp_path / str(name))
    assert [path.name for path in list_pictures(tmp_path)] == wanted


def test_link_loops_end_and_links_count_once(tmp_path: Path) -> None:
    published(tmp_path / "d")
    train = tmp_path / "d/train"
    (train / "a/self").symlink_to(train / "a")
    (train / "a/up").symlink_to(tmp_path)
    (train / "a/nowhere").symlink_to(tmp_path / "nowhere")
    (train / "a/circle").symlink_to(train / "a/circle")
    (train / "a/z again.png").symlink_to(train / "a/1.png")
    elsewhere = picture(tmp_path / "elsewhere/deep/9.png").parents[1]
    (train / "a/linked").symlink_to(elsewhere)
    (train / "a/linked twice").symlink_to(elsewhere)
    found = names(load_dataset(tmp_path / "d").train, train)
    assert found == ["a/0.png", "a/1.png", "a/linked/deep/9.png", "b/0.png", "b/1.png"]


def test_a_whole_class_or_split_may_be_a_link(tmp_path: Path) -> None:
    published(tmp_path / "store")
    root = tmp_path / "d"
    (root / "train").mkdir(parents=True)
    (root / "train/a").symlink_to(tmp_path / "store/train/a")
    (root / "train/b").symlink_to(tmp_path / "store/train/b")
    (root / "test").symlink_to(tmp_path / "store/test")
    dataset = load_dataset(root)
    assert dataset.train.counts().tolist() == dataset.test.counts().tolist() == [2, 2]


def test_the_same_file_under_two_classes_or_splits_is_an_error(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "train/b/x.png").symlink_to(tmp_path / "train/a/1.png")
    (tmp_path / "test/a/y.png").symlink_to(tmp_path / "train/a/0.png")
    with pytest.raises(UserError) as error:
        load_dataset(tmp_path)
    first, second = sorted(str(error.value).splitlines())
    assert "test/a/y.png: test picture of class 'a' is the same file as" in first
    assert "train/b/x.png: train picture of class 'b' is the same file as" in second


def test_decomposed_and_composed_class_names_are_one_class(tmp_path: Path) -> None:
    published(tmp_path, ("a",))
    picture(tmp_path / "train" / unicodedata.normalize("NFD", "Größe") / "0.png")
    picture(tmp_path / "test" / unicodedata.normalize("NFC", "Größe") / "0.png")
    assert load_dataset(tmp_path).test.classes == ("Größe", "a")


def test_one_folder_of_classes_is_split(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 2), ("c c", 5)):
        for i in range(count):
            picture(tmp_path / "x" / name / f"{i}.png")
    dataset = load_dataset(tmp_path / "x", test_fraction=0.3, seed=4)
    assert dataset.train.counts().tolist() == [7, 1, 3]
    assert dataset.test.counts().tolist() == [3, 1, 2]
    assert set(dataset.train.paths) | set(dataset.test.paths) == set(list_pictures(tmp_path / "x"))

    shutil.copytree(tmp_path / "x", tmp_path / "copy elsewhere")
    copy = load_dataset(tmp_path / "copy elsewhere", test_fraction=0.3, seed=4)
    assert names(copy.test, copy.root) == names(dataset.test, dataset.root)
    other = load_dataset(tmp_path / "x", test_fraction=0.3, seed=5)
    assert names(other.test, other.root) != names(dataset.test, dataset.root)


def test_this_split_never_changes(tmp_path: Path) -> None:
    for name in ("Cr", "Größe 1"):
        for i in range(6):
            picture(tmp_path / name / f"{i}.png")
    found = names(load_dataset(tmp_path, test_fraction=0.34, seed=0).test, tmp_path)
    assert found == ["Cr/1.png", "Cr/4.png", "Größe 1/0.png", "Größe 1/4.png"]


def test_a_csv_stands_for_the_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(12):
            picture(tmp_path / name / f"{i}.png")
    dataset = load_dataset(tmp_path, seed=3)
    write_split(dataset, tmp_path / "split.csv")
    again = load_dataset(tmp_path / "split.csv")
    assert again.train.paths == dataset.train.paths
    assert again.test.paths == dataset.test.paths
    np.testing.assert_array_equal(again.train.labels, dataset.train.labels)


def test_who_has_a_split(tmp_path: Path) -> None:
    published(tmp_path / "d")
    assert has_own_split(tmp_path / "d")
    assert not has_own_split(tmp_path / "d/train")
    assert not has_own_split(tmp_path / "nowhere")


def test_pictures_outside_classes_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published(tmp_path)
    picture(tmp_path / "train/overview.png")
    with caplog.at_level(logging.WARNING):
        assert len(load_dataset(tmp_path).train) == 4
    assert "train: 1 pictures outside the class folders left out" in caplog.text


def assert_refused(data: Path, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        load_dataset(data)
    for part in parts:
        assert part in str(error.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "nowhere: no such folder or CSV file")
    assert_refused(picture(tmp_path / "one.png"), "must be a folder or a .csv")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "empty: no pictures")
    picture(tmp_path / "flat/0.png")
    assert_refused(tmp_path / "flat", "flat: no class folders; put each class's into a folder")
    picture(tmp_path / "only/train/a/0.png")
    assert_refused(tmp_path / "only", "has train/ but no test/")
    picture(tmp_path / "late/test/a/0.png")
    assert_refused(tmp_path / "late", "has test/ but no train/")
    (tmp_path / "late/train").mkdir()
    assert_refused(tmp_path / "late", "train: no pictures")


def test_classes_that_cannot_work_are_named(tmp_path: Path) -> None:
    published(tmp_path / "d", ("a", "b"))
    picture(tmp_path / "d/test/only in test/0.png")
    assert_refused(tmp_path / "d", "class 'only in test' has test pictures but none in train")
    (tmp_path / "d/train/hollow/sub").mkdir(parents=True)
    assert_refused(tmp_path / "d", "hollow: a class without pictures; fill or remove it")
    published(tmp_path / "single", ("a",))
    assert_refused(tmp_path / "single", "only one class, 'a'")
    for name in ("a/0.png", "a/1.png", "lonely one/0.png"):
        picture(tmp_path / "s" / name)
    assert_refused(tmp_path / "s", "class 'lonely one' has one picture")


def test_a_list_of_pictures_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_pictures(tmp_path / "x")
    with pytest.raises(UserError, match="not a folder"):
        list_pictures(picture(tmp_path / "x.png"))
    assert list_pictures(tmp_path) == [tmp_path / "x.png"]


@pytest.mark.real
@pytest.mark.skipif("CVGSSL_DATA" not in os.environ, reason="needs CVGSSL_DATA")
def test_real_data_sets() -> None:
    data = Path(os.environ["CVGSSL_DATA"])
    neu, xsdd = load_dataset(data / "NEU-CLS"), load_dataset(data / "X-SDD")
    assert (len(neu.train), len(neu.test), len(neu.train.classes)) == (1439, 360, 6)
    assert (len(xsdd.train), len(xsdd.test), len(xsdd.train.classes)) == (946, 405, 7)
