"""The one reader of CSV files that people and spreadsheet programs write."""

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cvgssl.runtime.csv_writing import unescape_cell
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, problem_lines, read_limited

_SEPARATORS = (",", ";", "\t")
_LONGEST_HEADER = 2**20  # characters
_MOST_LINES = 3_000_000  # which take about 10 s and 600 MB
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
# blanks, and what programs leave beside words: byte order marks, spaces without width,
# direction marks
_UNSEEN = r"[\s\ufeff\u200b\u200e\u200f\u2060]+"
_AROUND = re.compile(rf"^{_UNSEEN}|{_UNSEEN}\Z")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row that is not empty; line: its (last) line in the file, from 1.

    columns: place of each column that was asked for, the same of all rows. cells: as written; ""
    where there is none.
    """

    line: int
    columns: dict[str, int]
    cells: tuple[str, ...]

    def written(self, column: str) -> str:
        """The cell as written."""
        return self.cells[self.columns[column]]

    def __getitem__(self, column: str) -> str:
        """The cell without blank and invisible characters around it."""
        return bare(self.written(column))


def bare(text: str) -> str:
    """`text` without what nobody sees around it, so that a cell or name of that alone is ""."""
    if text and "!" <= text[0] <= "~" and "!" <= text[-1] <= "~":  # as nearly all are
        return text
    return _AROUND.sub("", text)


def read_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> list[CsvRow]:
    """The rows of a CSV file below its header; columns may be in any order, others are ignored.

    Reads UTF-8 with and without byte order mark and UTF-16 with it; commas, semicolons or
    tabs, as the header has them (a line such as `sep=;` above it is passed over);
    quotes, blanks around cells, empty lines and the line ends of
    all systems. Column names are compared without case.
    Raises UserError that names the file, and the line where there is one.
    """
    text = _text(path)
    separator_line = re.match("sep=.\r?\n", text)  # a line for spreadsheet programs
    text = text[separator_line.end() :] if separator_line else text
    above = 1 if separator_line else 0
    wanted = (*needed, *optional)
    separator = _separator(path, text, wanted)
    # names may begin with blanks; a quote beside a blank is meant as a quote
    blanks = re.search(f'{separator} +"', text) is not None
    text = re.sub(f'" +(?=[{separator}\r\n])', '"', text)
    lines = (match[0] for match in _LINE.finditer(text))
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=blanks, strict=True)
    rows, problems = [], []
    header: list[str] = []
    places: tuple[int, ...] = ()
    columns = {name: place for place, name in enumerate(wanted)}
    try:
        for cells in reader:
            if not any(bare(cell) for cell in cells):
                continue
            if not header:
                header = [bare(cell).lower() for cell in cells]
                places = tuple(_places(path, header, needed, wanted).values())
                continue
            if len(cells) > len(header) and any(bare(cell) for cell in cells[len(header) :]):
                problems.append(
                    f"{path} line {reader.line_num + above}: {len(cells)} cells, but the header "
                    f"has {len(header)}; put a cell that holds {_name(separator)} in quotes"
                )
            count = len(cells)
            written = tuple(unescape_cell(cells[at]) if at < count else "" for at in places)
            rows.append(CsvRow(reader.line_num + above, columns, written))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num + above}: {one_line(error)}") from error
    if not header:
        _places(path, header, needed, wanted)
    if problems:
        raise UserError(problem_lines(problems))
    return rows


def _text(path: Path) -> str:
    data = read_limited(path, "a CSV file")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it as CSV UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path} line {line}: has a NUL character; save it as CSV UTF-8")
    lines = max(text.count("\n"), text.count("\r"))
    if lines > _MOST_LINES:
        raise UserError(f"{path}: has {lines:,} lines; at most {_MOST_LINES:,} are read")
    return text.lstrip("\ufeff")


def _separator(path: Path, text: str, wanted: Sequence[str]) -> str:
    """The separator by which the header has most of the columns; a comma where that is open."""
    first = next((match[0] for match in _LINE.finditer(text) if match[0].strip()), "")
    if len(first) > _LONGEST_HEADER:
        raise UserError(f"{path}: its first line has {len(first):,} characters; is it a CSV file?")

    def columns(separator: str) -> int:
        names = {cell.strip().strip('"').strip().lower() for cell in first.split(separator)}
        return len(names.intersection(wanted))

    return max(_SEPARATORS, key=columns)


def _places(
    path: Path, header: Sequence[str], needed: Sequence[str], wanted: Sequence[str]
) -> dict[str, int]:
    missing = [name for name in needed if name not in header]
    if missing:
        there = f"its first line has {one_line(', '.join(header))}" if header else "it is empty"
        raise UserError(
            f"{path}: no column {', '.join(missing)}; needed: {','.join(wanted)}; {there}"
        )
    twice = [name for name in wanted if header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: several columns {' and '.join(twice)}; keep one of each")
    return {name: header.index(name) if name in header else len(header) for name in wanted}


def _name(separator: str) -> str:
    return {",": "a comma", ";": "a semicolon"}.get(separator, "a tab")
