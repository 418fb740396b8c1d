"""Tables for people: drawn by rich on a terminal, plain aligned text everywhere else."""

import re
import sys
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvgssl.runtime.parsing import printable

# 12, -3.5, 93.10 %, 93.1 ± 0.4, 93.1 [92.0, 94.2]; a dash is a missing number
_NUMBER = re.compile(r"[-+−]?\d[\d.,]*\s*%?(\s*[±\[(].*)?|[-–—]?")


class _Console(Console):
    """Leaves a reader that has gone to the command; rich would end it with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise  # the error that rich is handling


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    file: TextIO | None = None,
) -> None:
    """Print `rows` under `columns` to `file` (default: stdout); columns of numbers align right.

    On a terminal long cells fold to its width. In a file or pipe there are no frames, colours or
    escape codes, and every row is one line however long it is, so grep and diff work. Line breaks
    and control characters in names become escapes, so they neither break nor fake rows.
    """
    assert all(len(row) == len(columns) for row in rows), "a row must fill every column"
    out = file or sys.stdout
    console = _Console(file=out, highlight=False, emoji=False, markup=False)
    plain = not console.is_terminal
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(_NUMBER.fullmatch(row[i]) for row in rows)
        table.add_column(
            Text(printable(name)), justify="right" if numeric else "left", overflow="fold"
        )
    for row in rows:  # control characters in names must not break or fake rows
        table.add_row(*(Text(printable(cell)) for cell in row))
    if title:  # printed separately, as rich would fold it to the table's width
        console.print(Text(printable(title), style="bold"), soft_wrap=True)
    if plain:
        # rich assumes 80 columns without a terminal; a wrapped path cannot be copied
        console.width = 100_000
        console.width = console.measure(table).maximum
        with console.capture() as capture:
            console.print(table)
        out.writelines(line.rstrip() + "\n" for line in capture.get().splitlines())
    else:
        console.print(table)
