import os
from pathlib import Path

import pytest

from cvgssl.adapt.draws import load_draws, load_labels
from cvgssl.images.names import KnownNames
from cvgssl.runtime.errors import UserError
from cvgssl.selection.label_list import (
    LabelLine,
    known_lines,
    read_labels,
    warn_of_like_names,
    write_labels,
)

CLASSES = ("crack", "pit")


def test_a_list_comes_back_and_spreadsheets_know_it(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    write_labels([("train/ä, b.png", "pit"), ("train/c.png", "")], path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpath,label\n")
    assert read_labels(path, "--labels") == [
        LabelLine(2, "train/ä, b.png", "pit"),
        LabelLine(3, "train/c.png", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "path;label\r\na.png;pit\r\nb.png;\r\n",
        "Path\tLabel\na.png\t pit \nb.png\n",
        "note,label,path\nx,pit,a.png\n,,b.png\n\n,,\n",
    ],
)
def test_lists_as_people_save_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, newline="")
    found = [(line.path, line.label) for line in read_labels(path, "--labels")]
    assert found == [("a.png", "pit"), ("b.png", "")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"path,class\na,b\n", "no column label; needed: path,label"),
        (b"", "no column path, label"),
        (b"path,label\na,x\nb,y\na,z\n", "line 4: a is in line 2"),
        (b"path,label\n\xff,x\n", "not UTF-8"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_labels(path, "--labels")
    assert str(caught.value).startswith(f"--labels {path}")
    assert told in str(caught.value)
    with pytest.raises(UserError, match=r"--labels .*no such file"):
        read_labels(tmp_path / "none.csv", "--labels")


@pytest.mark.parametrize(
    ("names", "like"),
    [
        (("surface scratch", "surfcae scratch"), True),
        (("Slag inclusion", "slag_inclusion"), True),
        (("rolled-in scale", "rolledin scale"), True),
        (("crack", "cracks"), True),
        (("dent", "dant"), True),
        (("type a", "type b"), False),
        (("pit", "pin"), False),
        (("camera1 crack", "camera2 crack"), False),
        (("red iron", "iron sheet"), False),
        (("oxide scale of plate system", "oxide scale of temperature system"), False),
        (("crack", "crack deep"), False),
    ],
)
def test_names_that_may_be_one(
    names: tuple[str, str], like: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_like_names([*names, names[0], "hole"], "--labels it.csv")
    warned = [
        f"--labels it.csv: {first!r} ({2 if first == names[0] else 1}) and {second!r} "
        f"({2 if second == names[0] else 1}) are almost the same name; if they are one class, "
        "give them one name"
        for first, second in [sorted(names)]
    ]
    assert caplog.messages == (warned if like else [])


def test_the_classes_of_public_sets_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    neu = "crazing inclusion patches pitted_surface rolled-in_scale scratches"
    xsdd = (
        "finishing roll printing,iron sheet ash,oxide scale of plate system,"
        "oxide scale of temperature system,red iron,slag inclusion,surface scratch"
    )
    gc10 = (
        "punching_hole welding_line crescent_gap water_spot oil_spot silk_spot inclusion "
        "rolled_pit crease waist folding"
    )
    for names in (neu.split(), xsdd.split(","), gc10.split()):
        warn_of_like_names(names, "--labels it.csv")
    assert not caplog.messages


def test_a_filled_list_is_a_single_support(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label\na,pit\nb,crack\nc,pit\nd,?\n")
    draws = load_labels(path, CLASSES)
    assert draws.supports == ({"crack": ("b",), "pit": ("a", "c")},)
    assert draws.shot is None


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,pit\nb,\nc,crack\nd,\n", ["line 3: b has no label", "line 5: d has no label"]),
        ("a,pit\nb,crack\nc,craks\n", ["line 4: 'craks' is none of the classes crack, pit"]),
        ("a,pit\nb,?\n", ["no picture of crack"]),
    ],
)
def test_a_list_that_is_not_ready(tmp_path: Path, rows: str, told: list[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"path,label\n{rows}")
    with pytest.raises(UserError) as caught:
        load_labels(path, CLASSES)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert line.startswith(f"--labels {path}")
        assert part in line


def test_a_list_is_no_file_of_draws(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label\na,pit\n")
    with pytest.raises(
        UserError, match=r"--draws .*list\.csv: is a list of labels; write --labels"
    ):
        load_draws(path, CLASSES)


def test_lines_get_the_names_of_the_data_set(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path;label\ntrain\\pit\\1.png; pit\nsteel/train/pit/2.png;pit\n../x.png;pit\n")
    known = KnownNames(["train/pit/1.png", "train/pit/2.png"], tmp_path / "steel")
    lines = known_lines(read_labels(path, "--labels"), known, f"--labels {path}")
    assert [line.path for line in lines] == ["train/pit/1.png", "train/pit/2.png", "../x.png"]
    path.write_text("path,label\ntrain/pit/1.png,pit\ntrain\\pit\\1.png,crack\n")
    with pytest.raises(UserError, match=r"line 3: train/pit/1\.png is in line 2"):
        known_lines(read_labels(path, "--labels"), known, f"--labels {path}")


def test_names_that_are_no_utf8_go_through_a_list(tmp_path: Path) -> None:
    name = os.fsdecode(b"train/pit/\xc1.png")
    write_labels([(name, "pit")], tmp_path / "list.csv")
    lines = read_labels(tmp_path / "list.csv", "--labels")
    (line,) = known_lines(lines, KnownNames([name]), "--labels")
    assert (line.path, line.label) == (name, "pit")
