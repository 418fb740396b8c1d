"""`cvgssl predict RUN IMAGES...`: names the class of pictures with a trained run."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.recognizer.config import PredictOptions
from cvgssl.runtime.lock import locked_file
from cvgssl.runtime.options import STRICT, Written
from cvgssl.runtime.parsing import printable

if TYPE_CHECKING:
    from cvgssl.recognizer.answer_files import Output
    from cvgssl.recognizer.predict import Prediction, Recognition

STDOUT = Path("-")
SHOWN = 100  # rows of the table; more are for a file


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictConfig(PredictOptions):
    """Name the class of pictures with a trained run, with probabilities.

    Prints a table, or writes CSV or JSON with the probabilities of all classes. Files grow as
    FILE.part; the same command goes on there after an interruption.
    """

    csv: Annotated[Path | None, Written()] = Field(
        default=None, description="write CSV to this file; - is standard output"
    )
    json: Annotated[Path | None, Written()] = Field(
        default=None, description="write JSON to this file; - is standard output"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.csv == STDOUT and self.json == STDOUT:
            problems.append("--csv - --json -: only one of them can go to standard output")
        return problems


COMMAND = Command(PredictConfig, positional=("model", "images"))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the command; 0 when all pictures got a class."""
    config = COMMAND.parse(argv, prog)
    with ExitStack() as locks:
        for flag, path in (("--csv", config.csv), ("--json", config.json)):
            if path is not None and path != STDOUT:
                locks.enter_context(locked_file(path, flag))
        _predict(config)
    return 0


def _predict(config: PredictConfig) -> None:
    from cvgssl.recognizer.answer_files import write_answers
    from cvgssl.recognizer.answers import summary, too_many_unknown
    from cvgssl.recognizer.predict import recognition

    work = recognition(config)
    outputs = _outputs(config)
    if outputs:
        try:
            counts, begun = write_answers(work, config, outputs)
        except KeyboardInterrupt:
            if STDOUT not in (config.csv, config.json):
                print("what is done is kept; the same command goes on there", file=sys.stderr)
            raise
        if begun:
            print(f"the first {begun} pictures were done before", file=sys.stderr)
        for path in (config.csv, config.json):
            if path not in (None, STDOUT):
                print(f"written to {path}", file=sys.stderr)
    else:
        counts = _show(work)
    print(printable(summary(counts)), file=sys.stderr)
    if config.rate is not None and (warning := too_many_unknown(counts, config.rate)):
        print(warning, file=sys.stderr)


def _outputs(config: PredictConfig) -> "list[Output]":
    from cvgssl.recognizer.answer_files import Output
    from cvgssl.recognizer.answers import CsvFormat, JsonFormat

    return [
        Output(form, sys.stdout.buffer if path == STDOUT else path)
        for form, path in ((CsvFormat(), config.csv), (JsonFormat(), config.json))
        if path is not None
    ]


def _show(work: "Recognition") -> dict[str, int]:
    """Print a table of the first pictures once they are named; gives the counts of all answers."""
    counts = Counter[str]()

    def each() -> "Iterator[Prediction]":
        for batch in work.batches():
            counts.update(prediction.answer for prediction in batch)
            yield from batch

    predictions = each()
    _print_table(list(islice(predictions, SHOWN)), work.with_verdicts)
    more = sum(1 for _ in predictions)
    if more:
        print(f"... and {more} more; --csv FILE writes all")
    return counts


def _print_table(predictions: "Sequence[Prediction]", with_verdicts: bool) -> None:
    """Path, (with verdicts) answer, class, probability and runner-up."""
    from cvgssl.recognizer.answers import path_text
    from cvgssl.report.terminal import print_table

    rows = []
    for prediction in predictions:
        (label, first), *others = prediction.ranked()
        second = f"{others[0][0]} {100 * others[0][1]:.1f} %" if others else ""
        answer = [prediction.answer] if with_verdicts else []
        rows.append([path_text(prediction.path), *answer, label, f"{100 * first:.1f} %", second])
    answer = ["answer"] if with_verdicts else []
    print_table("", ["path", *answer, "class", "probability", "runner-up"], rows)
