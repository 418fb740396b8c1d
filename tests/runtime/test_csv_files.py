"""CSV files as people, spreadsheet programs and hostile hands write them."""

import os
from pathlib import Path

import pytest

from cvgssl.runtime import csv_files
from cvgssl.runtime.csv_files import read_rows
from cvgssl.runtime.csv_writing import write_rows
from cvgssl.runtime.errors import UserError


def rows(path: Path, content: bytes, *optional: str) -> list[dict[str, str]]:
    path.write_bytes(content)
    found = read_rows(path, ("path", "label"), optional)
    return [{name: row[name] for name in row.columns} for row in found]


WANTED = [{"path": "ä/1.png", "label": "Größe"}, {"path": "b, 2.png", "label": ""}]
PLAIN = 'path,label\nä/1.png,Größe\n"b, 2.png",\n'


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n  \n").encode(),
        ("\n" + PLAIN).encode(),
        ("sep=,\n" + PLAIN).encode(),
        ("\ufeff\ufeff" + PLAIN).encode(),
        "sep=;\r\npath;label\nä/1.png;Größe\nb, 2.png;\n".encode(),
        "path;label\nä/1.png;Größe\nb, 2.png;\n".encode(),
        "path\tlabel\nä/1.png\tGröße\nb, 2.png\n".encode("utf-16"),
        ' Path , LABEL \nä/1.png, Größe \n"b, 2.png" \n'.encode(),
        '"path","label"\n"ä/1.png", "Größe"\n"b, 2.png",""\n'.encode(),
        'note,label,path,\n,Größe,ä/1.png,\nx,,"b, 2.png",,\n'.encode(),
    ],
)
def test_every_way_to_write_it_is_the_same(tmp_path: Path, content: bytes) -> None:
    assert rows(tmp_path / "a.csv", content) == WANTED


def test_optional_columns_and_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,label,split\na,x,train\n\nb,y\n")
    found = read_rows(path, ("path",), ("split", "group"))
    assert [(row.line, row["path"], row["split"], row["group"]) for row in found] == [
        (2, "a", "train", ""),
        (4, "b", "", ""),
    ]


def test_names_keep_the_blanks_that_they_begin_with(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,label\n a.png, x\n")
    (row,) = read_rows(path, ("path", "label"))
    assert (row.written("path"), row.written("label")) == (" a.png", " x")
    assert row["label"] == "x"


def test_an_apostrophe_before_a_formula_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    names = ["=1+1", "'=1", "-a", "'a", "\tx", "@"]
    write_rows(path, ("path", "label"), [(name, name) for name in names])
    found = read_rows(path, ("path", "label"))
    assert [row.written("path") for row in found] == names
    assert [row["label"] for row in found] == [name.strip() for name in names]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "a.csv: no column path, label; needed: path,label"),
        (
            b"path,class\na,b\n",
            "a.csv: no column label; needed: path,label; its first line has path, class",
        ),
        (b"path,label,label\na,b,c\n", "a.csv: several columns label; keep one of each"),
        (
            b"path,label\na.png,x\nb, c.png,y\n",
            "a.csv line 3: 3 cells, but the header has 2; put a",
        ),
        (b"path;label\na;b;c\n", "holds a semicolon in quotes"),
        (b"path,label\n\xff,x\n", "a.csv: not UTF-8 text; save it as CSV UTF-8"),
        (b"path,label\na,x\nb\0,y\n", "a.csv line 3: has a NUL character"),
        ("path,label\na,x\n".encode("utf-16-le"), "a.csv line 1: has a NUL character"),
        (b"\xff\xfep", "not UTF-8"),
        (b'path,label\n"a,x\nb,y\n', "a.csv line 3: unexpected end of data"),
        (b'path,label\n"a"b,x\n', "a.csv line 2: "),
        (b"path,label\n" + b"a" * 200_000 + b",x\n", "a.csv line 2: field larger than field limit"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.csv: not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_rows(path, ("path", "label"))
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_header_without_end_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path," * 300_000)
    with pytest.raises(UserError, match=r"its first line has 1,500,000 characters; is it a CSV"):
        read_rows(path, ("path",))


def test_of_many_bad_lines_some_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,label\n" + "a,b,c\n" * 1000)
    with pytest.raises(UserError) as caught:
        read_rows(path, ("path", "label"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "... and 980 more like these"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.csv", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "none.csv", "no such file"),
    ):
        with pytest.raises(UserError, match=told):
            read_rows(path, ("path",))


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sep=;\npath;label\na;b\n")
    assert [row.line for row in read_rows(path, ("path", "label"))] == [3]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_more_lines_than_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """200 MB of empty lines took minutes."""
    monkeypatch.setattr(csv_files, "_MOST_LINES", 4)
    head = f"path,label{end}"
    assert rows(tmp_path / "a.csv", f"{head}a,b{end * 3}".encode())
    with pytest.raises(UserError, match=r"a\.csv: has 5 lines; at most 4 are read"):
        rows(tmp_path / "a.csv", f"{head}a,b{end * 4}".encode())
