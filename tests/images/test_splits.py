"""The split's promises, for whatever classes and sizes."""

import os
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cvgssl.images.assemble import Entry, assemble, normal
from cvgssl.images.dataset import Dataset, ImageTable
from cvgssl.images.scan import load_dataset
from cvgssl.images.splits import read_split, stratified_split, write_split
from cvgssl.runtime.errors import UserError

Sizes = st.lists(st.integers(2, 40), min_size=1, max_size=5)
Fractions = st.floats(0.01, 0.99)
Seeds = st.integers(0, 2**40)


def listed(sizes: list[int]) -> tuple[list[str], list[str]]:
    labels = [f"c{label}" for label, size in enumerate(sizes) for _ in range(size)]
    return labels, [f"{label}/{row}.png" for row, label in enumerate(labels)]


@given(Sizes, Fractions, Seeds)
def test_every_class_is_on_both_sides_in_the_asked_share(
    sizes: list[int], fraction: float, seed: int
) -> None:
    labels, names = listed(sizes)
    test = stratified_split(labels, names, fraction, seed)
    for label, size in enumerate(sizes):
        count = int(test[np.array(labels) == f"c{label}"].sum())
        assert 1 <= count <= size - 1
        assert abs(count - size * fraction) <= 1


@given(Sizes, Fractions, Seeds, st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(
    sizes: list[int], fraction: float, seed: int, random: Random
) -> None:
    labels, names = listed(sizes)
    order = list(range(len(labels)))
    random.shuffle(order)
    test = stratified_split(labels, names, fraction, seed)
    shuffled = stratified_split(
        [labels[i] for i in order], [names[i] for i in order], fraction, seed
    )
    assert shuffled.tolist() == test[order].tolist()


@given(st.integers(2, 60), Fractions, Seeds)
def test_a_new_file_moves_at_most_one_other(size: int, fraction: float, seed: int) -> None:
    labels, names = listed([size])
    before = stratified_split(labels, names, fraction, seed)
    after = stratified_split([*labels, "c0"], [*names, "c0/new.png"], fraction, seed)
    assert (before != after[:-1]).sum() <= 1


def test_seeds_differ() -> None:
    labels, names = listed([30])
    draws = {stratified_split(labels, names, 0.3, seed).tobytes() for seed in range(20)}
    assert len(draws) == 20


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_impossible_shares(fraction: float) -> None:
    with pytest.raises(UserError, match="--test-fraction"):
        stratified_split(["a", "a"], ["1", "2"], fraction, 0)


def test_all_classes_with_one_picture_are_named() -> None:
    with pytest.raises(UserError) as error:
        stratified_split(["a", "b", "b", "c"], ["1", "2", "3", "4"], 0.5, 0)
    assert [line.split("'")[1] for line in str(error.value).splitlines()] == ["a", "c"]


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


Name = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=9
).filter(lambda name: name.strip() == name and name not in (".", "..") and len(name.encode()) < 99)


@settings(max_examples=40, deadline=None)
@given(st.lists(Name, min_size=2, max_size=4, unique_by=str.casefold))
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    folder = tmp_path_factory.mktemp("d")
    assume(len({normal(label) for label in labels}) > 1 and all(map(normal, labels)))
    entries = []
    for i, label in enumerate(labels):
        for split in ("train", "test"):
            name = f'{split} {i}/{label}, "q"; {i}.png'
            files(folder, name)
            entries.append(Entry(folder / name, label, "train" if split == "train" else "test"))
    dataset = assemble(folder, entries)
    write_split(dataset, folder / "lists.csv")
    again = read_split(folder / "lists.csv")
    for one, other in ((dataset.train, again.train), (dataset.test, again.test)):
        assert one.paths == other.paths
        assert one.classes == other.classes
        assert one.labels.tolist() == other.labels.tolist()


def table(paths: list[Path], labels: list[int]) -> ImageTable:
    return ImageTable(tuple(paths), np.array(labels, np.int64), ("a", "b"))


def test_paths_are_relative_below_the_csv_and_absolute_elsewhere(tmp_path: Path) -> None:
    files(tmp_path, "in/sub/1.png", "in/2.png", "out/3.png", "out/4.png")
    paths = [tmp_path / name for name in ("in/sub/1.png", "out/3.png", "in/2.png", "out/4.png")]
    dataset = Dataset(tmp_path, table(paths[:2], [0, 1]), table(paths[2:], [0, 1]))
    write_split(dataset, tmp_path / "in" / "s.csv")
    assert (tmp_path / "in" / "s.csv").read_bytes().decode() == (
        "path,label,split\n"
        "sub/1.png,a,train\n"
        f"{tmp_path.as_posix()}/out/3.png,b,train\n"
        "2.png,a,test\n"
        f"{tmp_path.as_posix()}/out/4.png,b,test\n"
    )
    again = read_split(tmp_path / "in" / "s.csv")
    assert again.train.paths + again.test.paths == tuple(paths)


def test_relative_data_is_written_from_the_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, "d/1.png", "d/2.png")
    monkeypatch.chdir(tmp_path)
    one, two = table([Path("d/1.png"), Path("d/../d/2.png")], [0, 1]), table([], [])
    write_split(Dataset(Path("d"), one, two), Path("d/s.csv"))
    assert "\n1.png,a,train\n2.png,b,train\n" in Path("d/s.csv").read_text()


GOOD = "1.png,a,train\n2.png,b,train\n3.png,a,test\n"


@pytest.mark.parametrize(
    "content",
    [
        ("path,label,split\n" + GOOD).encode("utf-8-sig"),
        ("path,label,split\n" + GOOD).replace("\n", "\r\n").encode(),
        ("path,label,split\n" + GOOD).replace(",", ";").encode(),
        b"Split , note, LABEL,path\ntrain,,a,1.png\n\n Train ,x,b,2.png\ntest,,a,3.png\n,,,\n",
    ],
    ids=["bom", "crlf", "semicolons", "columns"],
)
def test_spreadsheet_habits(tmp_path: Path, content: bytes) -> None:
    files(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "s.csv").write_bytes(content)
    dataset = read_split(tmp_path / "s.csv")
    assert [path.name for path in dataset.train.paths] == ["1.png", "2.png"]
    assert dataset.test.labels.tolist() == [0]


def test_backslashes_from_windows(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/2.png", "a/3.png")
    text = "path,label,split\n" + "".join(f"a\\{line}\n" for line in GOOD.splitlines())
    (tmp_path / "s.csv").write_text(text)
    assert read_split(tmp_path / "s.csv").train.paths[0] == tmp_path / "a/1.png"


def test_every_bad_row_is_reported_with_its_line(tmp_path: Path) -> None:
    files(tmp_path, "1.png", "2 x.png")
    (tmp_path / "s.csv").write_text(
        "path,label,split\n1.png,a,train\nnone.png,a,train\n1.png,,train\n1.png,a,val\n"
        '"2 x.png",a\n'
    )
    with pytest.raises(UserError) as error:
        read_split(tmp_path / "s.csv")
    lines = [line.split("s.csv line ")[1] for line in str(error.value).splitlines()]
    assert lines == [
        "3: no such file: none.png",
        "4: no label",
        "5: split 'val' is neither train nor test",
        "6: no split",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column path, label, split"),
        (b"path,label\n1.png,a\n", "no column split; needed: path,label,split"),
        (b"path,label,split\n", "no train pictures"),
        (b"path,label,split\n1.png,Gr\xf6\xdfe,train\n", "not UTF-8"),
        (b"path,label,split\n1.png,a,train\n2.png,b,train\n", "no test pictures"),
        (b"path,label,split\n1.png,a,train\n1.png,b,test\n2.png,b,train\n", "is the same file as"),
        (b"path,label,split\n1.png,a,train\n2.png,b,test\n", "class 'b' has test pictures but"),
    ],
)
def test_csv_that_cannot_work(tmp_path: Path, content: bytes, message: str) -> None:
    files(tmp_path, "1.png", "2.png")
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_split(tmp_path / "s.csv")
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "path\tlabel\tsplit\n1.png\ta \ttrain\n2.png\t b\tTrain\n3.png\ta\ttest\n".encode("utf-16"),
        b"path, label, split\n./1.png, a, train\n2.png , b, train\n.//3.png, a, test\n",
        b"path,label,split\n'=1.png,a,train\n2.png,b,train\n3.png,a,test\n",
    ],
    ids=["unicode text", "blanks", "formula"],
)
def test_rows_as_people_write_them(tmp_path: Path, content: bytes) -> None:
    files(tmp_path, "1.png", "2.png", "3.png", "=1.png")
    (tmp_path / "s.csv").write_bytes(content)
    dataset = read_split(tmp_path / "s.csv")
    assert dataset.train.classes == ("a", "b")
    assert [path.name.removeprefix("=") for path in dataset.train.paths] == ["1.png", "2.png"]


def test_a_row_with_a_comma_too_many_is_named(tmp_path: Path) -> None:
    files(tmp_path, "1, x.png")
    (tmp_path / "s.csv").write_text("path,label,split\n1, x.png,a,train\n")
    with pytest.raises(UserError, match=r"s\.csv line 2: 4 cells, but the header has 3"):
        read_split(tmp_path / "s.csv")


def test_bytes_that_are_no_utf8_round_trip(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"a/\xc1\xd1.png", b"b/2.png", b"a/\xff.png")]
    try:
        files(tmp_path, *names)
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    paths = [tmp_path / name for name in names]
    write_split(
        Dataset(tmp_path, table(paths[:2], [0, 1]), table(paths[2:], [0])), tmp_path / "s.csv"
    )
    (tmp_path / "s.csv").read_text(encoding="utf-8")
    again = read_split(tmp_path / "s.csv")
    assert again.train.paths + again.test.paths == tuple(paths)


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u00a0", " \u2060 "])
def test_what_is_invisible_around_a_class_name_makes_no_other_class(mark: str) -> None:
    assert normal(f"{mark}crack{mark}") == "crack"


@pytest.mark.parametrize("name", ["\ufeff", "\u200b \u2060"])
def test_a_class_name_that_nobody_sees_is_an_error(tmp_path: Path, name: str) -> None:
    for label in ("a", name):
        files(tmp_path, f"train/{label}/1.png", f"test/{label}/1.png")
    with pytest.raises(UserError, match="no visible character; rename it"):
        load_dataset(tmp_path)
    (tmp_path / "split.csv").write_text(f"path,label,split\ntrain/a/1.png,{name},train\n")
    with pytest.raises(UserError, match="line 2: no label"):
        read_split(tmp_path / "split.csv")
