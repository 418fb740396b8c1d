import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvgssl.adapt.draws import Draws, draw, load_draws, save_draws, shots_per_class
from cvgssl.images.dataset import Dataset, ImageTable
from cvgssl.runtime.errors import UserError

ROOT = Path("/data/pictures.csv")  # beside train/
COUNTS = {"crack": 12, "pit": 20, "stain": 9}


def dataset(counts: dict[str, int] = COUNTS, root: Path = ROOT) -> Dataset:
    """A list of pictures; drawing never opens one."""
    folder = root if root.is_dir() else root.parent
    paths = [folder / "train" / name / f"{i}.png" for name, n in counts.items() for i in range(n)]
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    table = ImageTable(tuple(paths), labels, tuple(counts))
    return Dataset(root, table, table.take(np.arange(0)))


def test_every_draw_has_shot_different_pictures_of_every_class_and_its_own_ones() -> None:
    draws = draw(dataset(), shot=4, count=10, seed=0)
    assert len(draws.supports) == 10
    for support in draws.supports:
        assert list(support) == list(COUNTS)
        for name, paths in support.items():
            assert len(set(paths)) == len(paths) == 4
            assert all(path.startswith(f"train/{name}/") for path in paths)
    assert len({support["pit"] for support in draws.supports}) == 10


def test_the_order_is_that_of_sha256_so_every_machine_draws_the_same() -> None:
    first, second = draw(dataset(), shot=3, count=2, seed=5).supports
    # `printf 5/0/train/stain/2.png | sha256sum` begins with 4bcd, that of 8.png with 57a6, ...
    assert first["stain"] == tuple(f"train/stain/{i}.png" for i in (2, 8, 1))
    assert second["stain"] == tuple(f"train/stain/{i}.png" for i in (7, 0, 3))


def test_a_larger_shot_contains_the_smaller_one() -> None:
    small, large = draw(dataset(), 2, 5, 0), draw(dataset(), 9, 5, 0)
    for few, many in zip(small.supports, large.supports, strict=True):
        for name in COUNTS:
            assert many[name][:2] == few[name]


def test_numbers_of_any_size_are_only_a_record(tmp_path: Path) -> None:
    draws = draw(dataset(), shot=1, count=1, seed=0)
    save_draws(draws, tmp_path / "draws.json")
    value = json.loads((tmp_path / "draws.json").read_text())
    for number in (10**400, -(10**400), 1e999, "3", None):
        (tmp_path / "draws.json").write_text(json.dumps(value | {"seed": number}))
        kept = load_draws(tmp_path / "draws.json", tuple(draws.supports[0]))
        assert (kept.seed, kept.shot) == (None, 1)


def test_the_seed_changes_the_draw_and_other_classes_do_not() -> None:
    draws = draw(dataset(), 4, 3, seed=0)
    assert draws == draw(dataset(), 4, 3, seed=0)
    assert draws.supports != draw(dataset(), 4, 3, seed=1).supports
    others = draw(dataset({"pit": 20, "scratch": 30}), 4, 3, seed=0)
    assert [support["pit"] for support in others.supports] == [
        support["pit"] for support in draws.supports
    ]


def test_the_same_folder_elsewhere_gives_the_same_draw(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    first, second = (draw(dataset(root=place), 4, 2, seed=0) for place in places)
    assert first == second
    assert first.supports[0]["pit"][0].startswith("train/pit/")


def test_long_tailed_counts_follow_the_formula() -> None:
    # 16 * 8^(-i/3) = 16, 8, 4, 2; 10 * 4^(-i/2) = 10, 5, 2.5
    assert shots_per_class(16, 4, 8).tolist() == [16, 8, 4, 2]
    assert shots_per_class(10, 3, 4).tolist() == [10, 5, 3]
    assert shots_per_class(4, 3, 100).tolist() == [4, 1, 1]
    assert shots_per_class(5, 1, 10).tolist() == [5]
    support = draw(dataset(), shot=9, count=1, seed=0, imbalance=9).supports[0]
    assert [len(paths) for paths in support.values()] == [9, 3, 1]


@given(st.integers(1, 200), st.integers(1, 50), st.floats(1, 1000))
def test_counts_fall_from_shot_to_shot_over_imbalance(
    shot: int, classes: int, imbalance: float
) -> None:
    counts = shots_per_class(shot, classes, imbalance)
    assert counts[0] == shot
    assert counts.min() >= 1
    assert (np.diff(counts) <= 0).all()
    if classes > 1:
        assert abs(counts[-1] - max(shot / imbalance, 1)) <= 0.5 + 1e-6


def test_too_few_pictures_name_every_class_that_lacks_them() -> None:
    with pytest.raises(UserError) as caught:
        draw(dataset(), shot=13, count=1, seed=0)
    assert str(caught.value) == (
        "--shot 13: too few training pictures in 2 of 3 classes: crack has 12 of 13, "
        "stain has 9 of 13; lower --shot or add pictures"
    )


def test_rows_are_those_of_the_table_class_by_class() -> None:
    data = dataset()
    draws = draw(data, 4, 2, 0)
    rows = draws.rows(1, data.train, ROOT)
    assert data.train.labels[rows].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    drawn = [path for paths in draws.supports[1].values() for path in paths]
    assert [data.train.paths[row] for row in rows] == [ROOT.parent / name for name in drawn]


def test_pictures_that_are_not_there_or_of_another_class_are_told() -> None:
    table = dataset().train
    gone = Draws(({"crack": ("train/crack/99.png", "train/crack/98.png")},))
    with pytest.raises(UserError, match=r"draw 1 names 2 pictures .* first train/crack/99\.png"):
        gone.rows(0, table, ROOT)
    name = "train/stain/8.png"
    with pytest.raises(UserError, match=rf"draw 1 has {name} under crack, but its class is stain"):
        Draws(({"crack": (name,)},)).rows(0, table, ROOT)


def test_saved_draws_come_back_equal(tmp_path: Path) -> None:
    for draws in (draw(dataset(), 4, 3, 7, imbalance=2), Draws(({"a": ("ä.png",)},))):
        save_draws(draws, tmp_path / "draws.json")
        assert load_draws(tmp_path / "draws.json", tuple(draws.supports[0])) == draws


SUPPORT = {"a": ["1.png"], "b": ["2.png"]}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"supports": [SUPPORT, {"a": ["1.png"]}]}, "draw 2 has the classes a; the data have a, b"),
        ({"supports": [SUPPORT | {"c": ["3.png"]}]}, "draw 1 has the classes a, b, c"),
        ({"supports": [SUPPORT | {"b": []}]}, "each needs a picture"),
        ({"supports": [SUPPORT | {"b": ["2.png", "2.png"]}]}, "draw 1 has 2.png 2 times"),
        ({"supports": [SUPPORT, SUPPORT | {"b": ["1.png"]}]}, "draw 2 has 1.png 2 times"),
        ({"supports": []}, "holds no draws"),
        ({"supports": 3}, "not a draws file"),
        ({"supports": [3]}, "not a draws file"),
        ({"supports": [{"a": 3, "b": 4}]}, "not a draws file"),
        ({}, "not a draws file"),
        ([], "not a draws file"),
    ],
)
def test_files_that_are_no_draws_for_these_classes(tmp_path: Path, value: Any, told: str) -> None:
    path = tmp_path / "draws.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError) as caught:
        load_draws(path, ("a", "b"))
    assert str(caught.value).startswith(f"--draws {path}: ")
    assert told in str(caught.value)


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_draws(tmp_path / "draws.json", ("a",))
    (tmp_path / "draws.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match="cannot be read as a file of draws"):
        load_draws(tmp_path / "draws.json", ("a",))


def test_numbers_beside_the_supports_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "draws.json"
    path.write_text('{"supports": [{"a": ["1.png"]}], "shot": "x", "imbalance": NaN, "seed": 1.5}')
    assert load_draws(path, ("a",)) == Draws(({"a": ("1.png",)},))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"supports": ' * 50_000, "\0" * 10, '{"supports": [{"a": "abc"}]}']
)
def test_hostile_files_of_draws_are_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "draws.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_draws(path, ("a",))
    assert str(caught.value).startswith(f"--draws {path}")
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


@pytest.mark.parametrize("path", ["/dev/zero", "1000000000000", "."])
def test_draws_that_are_no_files(path: str) -> None:
    with pytest.raises(UserError, match=f"--draws {path}"):
        load_draws(Path(path), ("a",))


def test_draws_of_another_system_are_understood() -> None:
    table = ImageTable(
        tuple(ROOT.parent / name for name in ("train/cra\u0308ck/1.png", "train/stain/2.png")),
        np.array([0, 1]),
        ("cr\u00e4ck", "stain"),
    )
    windows = Draws(
        ({"cr\u00e4ck": ("train\\cr\u00e4ck\\1.png",), "stain": ("./train/stain/2.png",)},)
    )
    named = windows.named(table, ROOT)
    assert named.supports == (
        {"cr\u00e4ck": ("train/cr\u00e4ck/1.png",), "stain": ("train/stain/2.png",)},
    )
    assert named.rows(0, table, ROOT).tolist() == [0, 1]
    twice = Draws(({"stain": ("train/stain/2.png", "train\\stain\\2.png")},))
    with pytest.raises(UserError, match=r"draw 1 has train/stain/2\.png 2 times"):
        twice.named(table, ROOT)


def test_composed_and_decomposed_names_have_the_same_draws() -> None:
    drawn = []
    for form in ("NFC", "NFD"):
        paths = [
            ROOT.parent / unicodedata.normalize(form, f"train/{label}/prüf {i}.png")
            for label in ("a", "b")
            for i in range(12)
        ]
        table = ImageTable(tuple(paths), np.repeat([0, 1], 12), ("a", "b"))
        drawn.append(draw(Dataset(ROOT, table, table), 3, 4, 0).supports)
    assert drawn[0] == drawn[1]


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    draws = Draws(({"a": (os.fsdecode(b"a/\xff.png"), "a/ä.png")},))
    save_draws(draws, tmp_path / "draws.json")
    assert load_draws(tmp_path / "draws.json", ("a",)) == draws


@pytest.mark.parametrize("name", ["a\u0000b", "\ud800", "x" * 100_000, "", "/", "../" * 5000])
def test_paths_that_nothing_can_have_are_one_line(name: str, tmp_path: Path) -> None:
    data = dataset(root=tmp_path)
    draws = Draws(({"crack": (name,)},)).named(data.train, tmp_path)
    with pytest.raises(UserError, match=r"draw 1 names 1 pictures that are not") as caught:
        draws.rows(0, data.train, tmp_path)
    assert len(str(caught.value)) < 500
