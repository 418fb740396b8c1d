"""Lists of pictures with room for their labels: a CSV of path,label to be filled in by hand."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from cvgssl.images.names import KnownNames, text_form
from cvgssl.runtime.csv_files import read_rows
from cvgssl.runtime.csv_writing import write_rows
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, problem_lines, under_flag

COLUMNS = ("path", "label")
UNSURE = "?"  # what a person writes who cannot name a picture
_LEAST_LETTERS = 4  # of words that may be misspelt: those of "type a" and "type b" are not
_MOST_CHANGES = 2  # letters left out, put in or exchanged

log = logging.getLogger(__name__)


class LabelLine(NamedTuple):
    """A picture of a list; label "" says not labelled yet, "?" that nobody can name it."""

    number: int
    path: str
    label: str


def write_labels(pictures: Sequence[tuple[str, str]], path: Path) -> None:
    r"""Write path and label ("" where there is none yet) of each picture, UTF-8 with a BOM.

    Bytes of names that are no UTF-8 are written as \xNN.
    """
    rows = [(text_form(name), label) for name, label in pictures]
    write_rows(path, COLUMNS, rows, byte_order_mark=True)


def read_labels(path: Path, flag: str) -> list[LabelLine]:
    """The lines of such a list, filled in or not, as `runtime.csv_files` reads CSV files.

    Paths are as the list has them; `known_lines` gives them the names of the data set.
    flag: what the message begins with, such as --labels. Raises UserError for a file that is
    not such a list and for pictures that are in it twice.
    """
    with under_flag(flag):
        rows = read_rows(path, COLUMNS)
    lines = [LabelLine(row.line, row.written("path"), row["label"]) for row in rows if row["path"]]
    _check_once(lines, f"{flag} {path}")
    return lines


def known_lines(lines: Sequence[LabelLine], known: KnownNames, where: str) -> list[LabelLine]:
    """The lines with the data set's own names of their pictures, however they are written.

    Pictures that the data set does not have keep their path, for the caller to judge.
    where: what a message begins with. Raises UserError for pictures that are in the list twice.
    """
    with under_flag(where):
        named = [line._replace(path=known.find(line.path) or line.path.strip()) for line in lines]
    _check_once(named, where)
    return named


def warn_of_like_names(labels: Iterable[str], where: str) -> None:
    """Warn of class names, given once per picture, that may be one name written in two ways."""
    counts = Counter(labels)
    for pair in combinations(sorted(counts), 2):
        if _alike(*map(_words, pair)):
            first, second = (f"{name!r} ({counts[name]})" for name in pair)
            log.warning(
                "%s: %s and %s are almost the same name; if they are one class, give them one name",
                where,
                first,
                second,
            )


def _words(name: str) -> list[str]:
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", name).casefold()).split()


def _alike(first: list[str], second: list[str]) -> bool:
    """Whether the words are equal but for what separates them, or but for one misspelt word."""
    if "".join(first) == "".join(second):
        return True
    if len(first) != len(second):
        return False
    other = [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]]
    if len(other) != 1 or min(map(len, other[0])) < _LEAST_LETTERS:
        return False
    changed = [
        (other[0][0][a:b], other[0][1][c:d])
        for kind, a, b, c, d in SequenceMatcher(None, *other[0], autojunk=False).get_opcodes()
        if kind != "equal"
    ]
    changes = sum(max(map(len, pair)) for pair in changed)
    return changes <= _MOST_CHANGES and not any(re.search(r"\d", "".join(pair)) for pair in changed)


def _check_once(lines: Sequence[LabelLine], where: str) -> None:
    seen: dict[str, int] = {}
    problems = []
    for line in lines:
        if line.path in seen:
            problems.append(
                f"{where} line {line.number}: {one_line(line.path)} is in line {seen[line.path]}"
            )
        seen.setdefault(line.path, line.number)
    if problems:
        raise UserError(problem_lines(problems))
