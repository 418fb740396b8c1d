"""Lists of pictures with room for their labels: a CSV of path,label to be filled in by hand."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cvgssl.runtime.csv_writing import unescape_cell, write_rows
from cvgssl.runtime.errors import UserError

COLUMNS = ("path", "label")
UNSURE = "?"  # what a person writes who cannot name a picture


class Line(NamedTuple):
    """A picture of a list; label "" says not labelled yet, "?" that nobody can name it."""

    number: int
    path: str
    label: str


def write_labels(pictures: Sequence[tuple[str, str]], path: Path) -> None:
    """Write path and label ("" where there is none yet) of each picture."""
    write_rows(path, COLUMNS, pictures, byte_order_mark=True)


def read_labels(path: Path, flag: str) -> list[Line]:
    """The lines of such a list, filled in or not; commas, semicolons or tabs, BOM or none.

    flag: what the message begins with, such as --labels. Raises UserError for a file that is
    not such a list and for pictures that stand there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{flag} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{flag} {path}: not UTF-8; save it as CSV UTF-8") from error
    first = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True
    )
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise UserError(
                f"{flag} {path}: no column {' and no '.join(missing)}; needed: path,label"
            )
        picture, label = (header.index(name) for name in COLUMNS)
        lines = [
            Line(
                reader.line_num,
                unescape_cell(row[picture].strip()),
                unescape_cell((row[label : label + 1] or [""])[0].strip()),
            )
            for row in reader
            if row[picture : picture + 1] and row[picture].strip()
        ]
    except csv.Error as error:
        raise UserError(f"{flag} {path} line {reader.line_num}: {error}") from error
    _check_once(lines, f"{flag} {path}")
    return lines


def _check_once(lines: Sequence[Line], where: str) -> None:
    seen: dict[str, int] = {}
    problems = []
    for line in lines:
        if line.path in seen:
            problems.append(f"{where} line {line.number}: {line.path} is in line {seen[line.path]}")
        seen.setdefault(line.path, line.number)
    if problems:
        raise UserError("\n".join(problems))
