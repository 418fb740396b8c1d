"""Which part a picture shows, and splits that keep parts whole."""

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from cvgssl.images.part_of_picture import by_pattern, by_twins
from cvgssl.images.splits import grouped_split, stratified_split
from cvgssl.runtime.errors import UserError

Listed = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 12).map(str)), min_size=1, max_size=80
)
Fractions = st.floats(0.05, 0.95)


@settings(deadline=None)
@given(Listed, Fractions, st.integers(0, 99))
def test_parts_stay_whole_and_every_class_stays_in_train(
    listed: list[tuple[str, str]], fraction: float, seed: int
) -> None:
    labels, parts = zip(*listed, strict=True)
    try:
        test = grouped_split(labels, parts, fraction, seed)
    except UserError:
        assert any(len(set(parts_of)) == 1 for parts_of in by_class(listed).values())
        return
    sides = defaultdict(set)
    for part, drawn in zip(parts, test.tolist(), strict=True):
        sides[part].add(drawn)
    assert all(len(side) == 1 for side in sides.values())
    assert {label for label, drawn in zip(labels, test, strict=True) if not drawn} == set(labels)


def by_class(listed: list[tuple[str, str]]) -> dict[str, list[str]]:
    parts = defaultdict(list)
    for label, part in listed:
        parts[label].append(part)
    return parts


@given(st.lists(st.integers(2, 40), min_size=1, max_size=4), Fractions, st.integers(0, 99))
def test_parts_of_one_picture_give_the_shares_of_the_plain_split(
    sizes: list[int], fraction: float, seed: int
) -> None:
    labels = [f"c{label}" for label, size in enumerate(sizes) for _ in range(size)]
    names = [f"{row}.png" for row in range(len(labels))]
    plain = stratified_split(labels, names, fraction, seed)
    assert grouped_split(labels, names, fraction, seed).tolist() == plain.tolist()


def test_shares_are_near_and_the_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    part = rng.integers(0, 60, 600)
    labels = [f"c{number % 4}" for number in part]
    parts = [str(number) for number in part]
    test = grouped_split(labels, parts, 0.3, 1)
    for label in set(labels):
        assert abs(test[np.array(labels) == label].mean() - 0.3) < 0.04
    order = rng.permutation(600)
    again = grouped_split([labels[i] for i in order], [parts[i] for i in order], 0.3, 1)
    assert again.tolist() == test[order].tolist()
    assert grouped_split(labels, parts, 0.3, 2).tolist() != test.tolist()


def test_a_class_of_one_part_is_in_train_and_alone_no_split_at_all() -> None:
    labels, parts = ["a", "a", "b", "b"], ["1", "2", "3", "3"]
    test = grouped_split(labels, parts, 0.5, 0)
    assert test.tolist() in ([True, False, False, False], [False, True, False, False])
    with pytest.raises(UserError, match="nothing is left for testing"):
        grouped_split(["a", "a", "b"], ["1", "1", "2"], 0.5, 0)
    with pytest.raises(UserError, match="--test-fraction 1"):
        grouped_split(labels, parts, 1, 0)


def test_parts_by_the_first_group_or_the_one_called_part() -> None:
    names = ["x/part_1_a.png", "x/part_1_b.png", "y/part_2_a.png"]
    first = by_pattern(r"part_(\d+)_", names)
    assert first[0] == first[1] != first[2]
    called = by_pattern(r"(part)_\d+_(?P<part>[ab])", names)
    assert called[0] == called[2] != called[1]
    folders = by_pattern(r"^(\w)/", names)
    assert folders[0] == folders[1] != folders[2]


def test_names_that_do_not_match_are_parts_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parts = by_pattern(r"part(\d)?", ["a/part1.png", "a/x.png", "a/y.png", "a/part.png"])
    assert len(set(parts)) == 4
    assert "3 of 4 names do not match, such as x.png" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("part_(", "no regular expression"),
        (r"part_\d+", "into parentheses"),
        ("(" * 150 + ")" * 150, "longer than 200"),
        ("(zzz)", "matches none of the names, such as aaaa"),
        ("(a+)+$", "takes more than 0.5 s for 1 name"),
    ],
)
def test_patterns_that_are_of_no_use(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match="--group-by") as error:
        by_pattern(pattern, ["x/" + "a" * 60 + "!"], seconds=0.5)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_twins_of_twins_and_copies_are_one_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(3)
    grain = [ndimage.gaussian_filter(rng.normal(size=(96, 96)), (3, 1)) for _ in range(3)]
    pictures = [np.clip(128 + 25 * g / g.std(), 0, 255).astype("u1") for g in grain]
    Image.fromarray(pictures[0]).save(tmp_path / "0.png")
    Image.fromarray(pictures[0] // 2).save(tmp_path / "0 dark.png")
    Image.fromarray(pictures[0]).save(tmp_path / "0 copy.bmp")
    Image.fromarray(pictures[1]).save(tmp_path / "1.png")
    Image.fromarray(pictures[2]).save(tmp_path / "2.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    paths = sorted(tmp_path.iterdir())
    with caplog.at_level(logging.WARNING):
        parts = by_twins(paths, [path.name for path in paths])
    part = dict(zip([path.name for path in paths], parts, strict=True))
    assert part["0.png"] == part["0 dark.png"] == part["0 copy.bmp"]
    assert len(set(parts)) == 4
    assert "1 picture cannot be read" in caplog.text
