"""Every text comes back from a CSV file, and no spreadsheet program takes one for a formula."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvgssl.runtime.csv_writing import (
    FORMULA,
    csv_text,
    escape_cell,
    unescape_cell,
    write_rows,
)
from cvgssl.runtime.errors import UserError

TEXT = st.one_of(
    st.text(st.sampled_from("'=+-@＝\t\r\n,;\"a1 é"), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)


@given(TEXT)
def test_every_text_comes_back_and_is_no_formula(text: str) -> None:
    written = escape_cell(text)
    assert not written.startswith(FORMULA)
    assert unescape_cell(written) == text
    # a program that ends cells and lines there sees no formula either
    parts = re.split("[;\\t\\r\\n]", written)
    assert not any(part.startswith(FORMULA) for part in parts)
    assert written.replace("'", "") == text.replace("'", "")


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_rows_come_back_from_the_text_of_a_file(rows: list[tuple[str, str]]) -> None:
    text = csv_text(rows[0], rows[1:])
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [tuple(map(unescape_cell, row)) for row in read] == rows


@pytest.mark.parametrize(
    "name", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "'=x", "''", "''x", "＝x", "－1"]
)
def test_what_needs_an_apostrophe_gets_one(name: str) -> None:
    assert escape_cell(name) == "'" + name


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("a;'=1", "a;''=1"),
        ("a\n＝1;;-2", "a\n'＝1;;'-2"),
        ("\t=1", "'\t'=1"),
        ("a; b;c=1", "a; b;c=1"),
    ],
)
def test_what_other_programs_take_for_the_next_cell(text: str, written: str) -> None:
    assert escape_cell(text) == written
    assert unescape_cell(written) == text


@pytest.mark.parametrize("name", ["", "'", "'x", "a=1", "don't", "1-2", " =x"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert escape_cell(name) == name
    assert unescape_cell(name) == name


def test_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.csv"
    write_rows(path, ["name", "-a"], [("-b", -1.25), ("c", -3), ("d", None), ("e", 1 / 3)])
    assert path.read_bytes() == b"name,'-a\n'-b,-1.25\nc,-3\nd,\ne,0.333333\n"
    write_rows(path, ["é"], [], byte_order_mark=True)
    assert path.read_bytes() == b"\xef\xbb\xbf\xc3\xa9\n"


def test_bytes_that_are_no_utf8_are_one_line_with_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(UserError) as told:
        write_rows(path, ["path", "label"], [("ok.png", "a"), ("b\udce9d.png", "b")])
    assert "a.csv: cannot hold b\\xe9d.png,b: " in str(told.value)
    assert "\n" not in str(told.value)
    assert not path.exists()
