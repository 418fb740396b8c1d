"""Predictions as text: CSV and JSON, a picture at a time, and a line of counts."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Protocol

from cvgssl.heads.verdicts import UNKNOWN
from cvgssl.recognizer.predict import Prediction
from cvgssl.runtime.csv_writing import csv_line, unescape_cell
from cvgssl.runtime.parsing import counted

_CHANCE = 0.05


class TextFormat(Protocol):
    """A kind of file: what it begins with, a text per picture, what is between and at the end."""

    between: str
    end: str

    def begin(self, classes: Sequence[str], with_verdicts: bool, nearest: int = 0) -> str:
        """What comes before the first picture.

        with_verdicts: whether there are verdicts. nearest: labelled pictures of each.
        """

    def text(self, prediction: Prediction) -> str:
        """That of one picture."""


class CsvFormat:
    """Columns path, class, probability and the probability of every class.

    With verdicts, the column answer follows path: class, unknown or not sure. Labelled pictures are
    at the end, each in three columns: `nearest 1`, `nearest 1 class`, `nearest 1 similarity`.
    """

    between = end = ""

    def begin(self, classes: Sequence[str], with_verdicts: bool, nearest: int = 0) -> str:
        """The header."""
        near = [
            f"nearest {place}{what}"
            for place in range(1, nearest + 1)
            for what in ("", " class", " similarity")
        ]
        answer = ["answer"] if with_verdicts else []
        return csv_line(["path", *answer, "class", "probability", *classes, *near])

    def text(self, prediction: Prediction) -> str:
        """A row."""
        numbers = [f"{p:.6f}" for p in (prediction.probability, *prediction.probabilities)]
        answer = [] if prediction.verdict is None else [prediction.answer]
        near = [
            cell
            for each in prediction.nearest or ()
            for cell in (each.name, each.label, f"{each.similarity:.6f}")
        ]
        return csv_line(
            [path_text(prediction.path), *answer, prediction.predicted_class, *numbers, *near]
        )

    def remark(self, facts: dict[str, Any]) -> str:  # noqa: ARG002
        """Nothing: all rows are about pictures."""
        return ""

    def rows(self, file: IO[bytes]) -> Iterator[tuple[int, str | None, str]]:
        """Bytes, path and answer of each whole row of a file that was read up to its first row.

        Raises ValueError for what is no row.
        """
        row = b""
        for line in file:
            row += line
            if row.count(b'"') % 2 or not row.endswith(b"\n"):
                continue  # a line break inside a cell, or the end of the file
            path, answer, *_ = map(unescape_cell, next(csv.reader(io.StringIO(row.decode()))))
            yield len(row), path, answer
            row = b""


class JsonLinesFormat:
    """A line for each picture: an object as in JSON."""

    between = end = ""

    def begin(self, classes: Sequence[str], with_verdicts: bool, nearest: int = 0) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def text(self, prediction: Prediction) -> str:
        """An object in a line."""
        return json.dumps(_values(prediction), ensure_ascii=False) + "\n"

    def remark(self, facts: dict[str, Any]) -> str:
        """An object in a line, without path."""
        return json.dumps(facts, ensure_ascii=False) + "\n"

    def rows(self, file: IO[bytes]) -> Iterator[tuple[int, str | None, str]]:
        """As those of `CsvFormat`, path None for a remark; raises KeyError or TypeError, too."""
        for line in file:
            if line.endswith(b"\n"):
                value = json.loads(line)
                if "alarm" in value and "path" not in value:
                    yield len(line), None, ""
                    continue
                yield len(line), str(value["path"]), str(value.get("answer", value["class"]))


class JsonFormat:
    """A list of objects with path, class, probability and probabilities (class -> number).

    With verdicts, also answer: class, unknown or not sure. With labelled pictures, also nearest: a
    list of name, label and similarity.
    """

    between, end = ",\n", "\n]\n"

    def begin(self, classes: Sequence[str], with_verdicts: bool, nearest: int = 0) -> str:  # noqa: ARG002
        """The bracket."""
        return "[\n"

    def text(self, prediction: Prediction) -> str:
        """An object, indented."""
        text = json.dumps(_values(prediction), indent=2, ensure_ascii=False)
        return "  " + text.replace("\n", "\n  ")


def _values(prediction: Prediction) -> dict[str, Any]:
    numbers = [round(float(p), 6) for p in prediction.probabilities]
    answer = {} if prediction.verdict is None else {"answer": prediction.answer}
    nearest = prediction.nearest
    near = {} if nearest is None else {"nearest": [asdict(each) for each in nearest]}
    return {
        "path": path_text(prediction.path),
        **answer,
        "class": prediction.predicted_class,
        "probability": round(prediction.probability, 6),
        "probabilities": dict(zip(prediction.classes, numbers, strict=True)),
        **near,
    }


def summary(counts: Mapping[str, int]) -> str:
    """How many pictures got which answer, in one line, the commonest first."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    by_answer = ", ".join(f"{label} {count}" for label, count in ordered)
    return f"{counted(total, 'picture')}: {by_answer}" if total else "no new pictures"


def too_many_unknown(counts: Mapping[str, int], rate: float) -> str:
    """What more "unknown" than the false-rejection rate leads to expect means; "" where it is not.

    Chance makes as many or more in one of twenty jobs; it is no reason for a word.
    """
    total, unknown = sum(counts.values()), counts.get(UNKNOWN, 0)
    if not unknown or _as_many(unknown, total, rate) >= _CHANCE:
        return ""
    return (
        f"{unknown} of {total} are unknown, more than the {100 * rate:g} % that "
        "--false-rejection-rate expects of known classes: either they show other things than the "
        "labelled pictures (a new kind, another camera or light), or the labels are too few to "
        "show what their classes look like; label some of them and fit again"
    )


def _as_many(least: int, total: int, rate: float) -> float:
    """Chance of `least` or more of `total` where each comes with probability `rate`.

    In plain Python, for programs without SciPy.
    """
    if not 0 < rate < 1:
        return rate

    def log_probability(count: int) -> float:
        ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
        return ways + count * math.log(rate) + (total - count) * math.log1p(-rate)

    return math.fsum(math.exp(log_probability(count)) for count in range(least, total + 1))


def path_text(path: Path) -> str:
    r"""The path as valid Unicode; bytes of other encodings in it become \xNN."""
    raw = str(path).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
