"""CSV files that spreadsheet programs open as what they are, text and numbers.

A cell of text that begins with `=`, `+`, `-`, `@` (also the full-width ones), a tab or a carriage
return is a formula to such a program: a class called `=1+1` would become 2, and a name that
somebody else chose could run a command. Such cells get an apostrophe before them, which says
"text"; readers take it off again. So does what comes after a semicolon, a tab or a line break
inside a cell, for programs that take those for the end of a cell or a line, quotes or not.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_text
from cvgssl.runtime.parsing import name_remedy, printable

_SIGNS = "=+-@＝＋－＠"
FORMULA = (*_SIGNS, "\t", "\r")
_MARK = "'"
_INSIDE = re.compile(rf"(?<=[;\t\r\n])(?='*[{re.escape(_SIGNS)}])")
_MARKED_INSIDE = re.compile(rf"(?<=[;\t\r\n])'(?='*[{re.escape(_SIGNS)}])")
_QUOTED = frozenset(',"\r\n')

CsvValue = str | float | None
"""Text, a number or nothing. Text is escaped; numbers are not."""


def escape_cell(text: str) -> str:
    """`text` as a spreadsheet program takes it for text; `unescape_cell` gives it back."""
    inside = _INSIDE.sub(_MARK, text)
    return _MARK + inside if text.startswith(FORMULA) or _is_escaped(text) else inside


def unescape_cell(text: str) -> str:
    """The text that `escape_cell` was given."""
    return _MARKED_INSIDE.sub("", text[1:] if _is_escaped(text) else text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[CsvValue]]) -> str:
    """A CSV file's text: commas, quotes where needed, lines that end with a line feed.

    Floats have six significant digits; None is an empty cell.
    """
    return "".join(map(csv_line, (header, *rows)))


def csv_line(row: Sequence[CsvValue]) -> str:
    """A line of such a file, with its line feed, for files that grow."""
    return ",".join(map(_written, row)) + "\n"


def write_rows(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[CsvValue]],
    byte_order_mark: bool = False,
) -> None:
    """Write a CSV file in UTF-8, whole or not at all.

    byte_order_mark: begin with one, so that spreadsheet programs take the file for UTF-8.
    Raises UserError for a name whose bytes are no UTF-8.
    """
    text = csv_text(header, rows)
    try:
        write_text(path, "\ufeff" + text if byte_order_mark else text)
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 :].partition("\n")[0]
        raise UserError(
            f"{path}: cannot hold {printable(line)}: these are bytes that are no UTF-8; "
            f"{name_remedy('the file or folder')}"
        ) from error


def _written(cell: CsvValue) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        text = escape_cell(cell)
        # csv.writer before Python 3.13 leaves a carriage return without quotes
        return '"' + text.replace('"', '""') + '"' if _QUOTED.intersection(text) else text
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _is_escaped(text: str) -> bool:
    return text.startswith(_MARK) and text[1:].startswith((_MARK, *FORMULA))
