"""Features files: what was written comes back, other people's are read, wrong ones are named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cvgssl.adapt.draws import draw
from cvgssl.features.table import FeatureTable, check_target, load_features, save_features
from cvgssl.runtime.errors import UserError

NAMES = ("train/pit/1.bmp", "train/pit/ü 2.bmp", "train/crack/1.bmp", "loose.bmp", "test/pit/3.bmp")


@pytest.fixture
def table() -> FeatureTable:
    values = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    splits = ("train",) * 4 + ("test",)
    labels = np.array([1, 1, 0, -1, 1])
    return FeatureTable(values, NAMES, labels, splits, ("crack", "pit"), {"encoder": "ü", "n": [1]})


def same(left: FeatureTable, right: FeatureTable) -> bool:
    arrays = np.array_equal(left.values, right.values) and np.array_equal(left.labels, right.labels)
    return arrays and (left.names, left.splits, left.classes, left.about) == (
        right.names,
        right.splits,
        right.classes,
        right.about,
    )


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_what_was_written_comes_back(table: FeatureTable, tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "deep" / f"features.{ending}"
    save_features(table, path)
    read = load_features(path)
    assert same(read, table) and read.values.dtype == np.float32
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    empty = table.take(np.array([], np.intp))
    save_features(empty, path)
    assert load_features(path).values.shape == (0, 3)


def test_parts(table: FeatureTable) -> None:
    train = table.split("train")
    assert train.names == NAMES[:4] and np.array_equal(train.values, table.values[:4])
    dataset = table.dataset()
    assert [path.as_posix() for path in dataset.train.paths] == list(NAMES[:3]), "labelled only"
    assert len(dataset.test) == 1 and dataset.train.classes == ("crack", "pit")
    assert draw(dataset, 1, 1, 0).supports[0]["crack"] == (NAMES[2],)


def test_somebody_elses_file_needs_values_and_names_only(tmp_path: Path) -> None:
    path = tmp_path / "theirs.npz"
    np.savez(path, values=np.arange(10, dtype=np.float64).reshape(5, 2), names=np.array(NAMES))
    read = load_features(path)
    assert read.values.dtype == np.float32 and read.values[4, 1] == 9
    assert read.splits == ("train",) * 4 + ("test",)
    assert read.classes == ("crack", "pit") and read.labels.tolist() == [1, 1, 0, -1, 1]


def test_somebody_elses_parquet_with_a_list_column(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "theirs.parquet"
    columns = {"values": [[1.0, 2.0], [3.0, 4.5]], "names": ["a.png", "b.png"], "labels": ["x", ""]}
    parquet.write_table(pyarrow.table(columns), path)
    read = load_features(path)
    assert read.values.tolist() == [[1, 2], [3, 4.5]] and read.labels.tolist() == [0, -1]
    columns["values"][1].append(1.0)
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match=r"theirs\.parquet"):
        load_features(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": None}, "has no names"),
        ({"values": None}, "has no values"),
        ({"values": np.ones((4, 2))}, r"\(4, 2\) for 5 names"),
        ({"values": np.ones(5)}, r"float \[pictures, numbers\] is needed"),
        ({"values": np.array([["a", "b"]] * 5)}, r"float \[pictures, numbers\] is needed"),
        ({"values": np.full((5, 2), np.nan)}, "NaN"),
        ({"names": np.array(["a"] * 5)}, "more than once"),
        ({"names": np.array("a")}, "names"),
        ({"splits": np.array(["train"] * 4)}, "4 splits"),
        ({"splits": np.array(["train"] * 4 + ["val"])}, "val"),
        ({"labels": np.array(["a"])}, "1 labels"),
        ({"about": np.str_("{")}, "about"),
        ({"about": np.str_("[1]")}, "about"),
    ],
)
def test_wrong_files_are_named(change: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.npz"
    good = {"values": np.ones((5, 2)), "names": np.array(NAMES)}
    np.savez(path, **{k: v for k, v in (good | change).items() if v is not None})
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_features(path)


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_files_of_another_kind(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    array = tmp_path / "array.npy"
    np.save(array, np.ones(3))
    objects = tmp_path / "objects.npz"
    np.savez(objects, values=np.array([{}], object), names=np.array(["a"]))
    whole = tmp_path / "whole.npz"
    np.savez(whole, values=np.ones((500, 2)), names=np.array([str(i) for i in range(500)]))
    contents = [b"", b"PK", b"text", array.read_bytes(), objects.read_bytes()]
    for content in [*contents, whole.read_bytes()[:3000]]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=re.escape(str(path))):
            load_features(path)
    with pytest.raises(UserError, match=r"absent\.npz: no such file"):
        load_features(tmp_path / "absent.npz")
    with pytest.raises(UserError, match=r"\.npz or \.parquet"):
        load_features(tmp_path / "features.csv")


def test_what_cannot_be_written_is_said_beforehand(table: FeatureTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.npz or \.parquet"):
        check_target(tmp_path / "x.csv")
    (tmp_path / "y.npz").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        save_features(table, tmp_path / "y.npz")


def test_about_is_plain_json(table: FeatureTable, tmp_path: Path) -> None:
    save_features(table, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as file:
        assert json.loads(str(file["about"])) == table.about
        assert file["labels"].tolist() == ["pit", "pit", "crack", "", "pit"]
