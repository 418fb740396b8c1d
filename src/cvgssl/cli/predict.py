"""`cvgssl predict RECOGNIZER PICTURES...`: names the class of pictures, also as they arrive."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.cli.command import Command
from cvgssl.cli.predict_config import STDOUT, PredictConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import locked_file, locked_folder
from cvgssl.runtime.parsing import printable
from cvgssl.runtime.stopping import stop_requests

if TYPE_CHECKING:
    from cvgssl.recognizer.answer_files import Output
    from cvgssl.recognizer.changes import Changes
    from cvgssl.recognizer.predict import Prediction, Recognition

SHOWN = 100  # rows of the table; more are for a file


COMMAND = Command(PredictConfig, positional=("recognizer", "pictures"))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the command; gives 0."""
    config = COMMAND.parse(argv, prog)
    with ExitStack() as locks:
        for flag, path in config.targets.items():
            if path != STDOUT:
                locks.enter_context(locked_file(path, flag))
        if config.alarm is not None:
            locks.enter_context(locked_file(config.alarm, "--alarm"))
        if config.sort_into is not None:
            locks.enter_context(locked_folder(config.sort_into, "--sort-into"))
        if config.goes_on:
            _go_on(config)
        else:
            _predict(config)
    return 0


def _predict(config: PredictConfig) -> None:
    from cvgssl.recognizer.answer_files import write_answers
    from cvgssl.recognizer.predict import recognition

    outputs = _outputs(config)
    work = recognition(config)
    if outputs:
        before = {path for path in config.targets.values() if path.is_file()}
        try:
            counts, begun = write_answers(work, config, outputs)
        except KeyboardInterrupt:
            if STDOUT not in config.targets.values():
                print("what is done is kept; the same command goes on there", file=sys.stderr)
            raise
        if begun:
            print(f"the first {begun} pictures were done before", file=sys.stderr)
        for path in config.targets.values():
            if path != STDOUT:
                instead = ", in place of the file that was there" if path in before else ""
                print(f"written to {path}{instead}", file=sys.stderr)
    else:
        counts = _show(work)
    _sum_up(counts, config.rate)


def _go_on(config: PredictConfig) -> None:
    """Name pictures one after the other; ended by a signal, what is at work is finished."""
    from cvgssl.recognizer.growing import GrowingFile
    from cvgssl.recognizer.sorting import Sorter
    from cvgssl.recognizer.watching import Line, classify_listed, watch

    work, changes = _opened(config)
    sorter = None
    if config.sort_into is not None:
        sorter = Sorter(config.sort_into, config.sort_mode, work.recognizer.classes)
    with ExitStack() as opened:
        if changes is not None:
            opened.callback(changes.log.close)
        outputs = []
        for output in _outputs(config):
            outputs.append(GrowingFile(output, work))
            opened.callback(outputs[-1].close)
        on_answer = _say_nothing if STDOUT in config.targets.values() else _say
        line = Line(work, config, outputs, sorter, on_answer, changes)
        try:
            if config.watch is None:
                classify_listed(line, work.reading.paths)
            else:
                with stop_requests() as ends:
                    watch(line, config.watch, config.poll_seconds, ends)
        except KeyboardInterrupt:
            _sum_up(line.counts, config.rate)
            raise
        _sum_up(line.counts, config.rate)


def _opened(config: PredictConfig) -> "tuple[Recognition, Changes | None]":
    """What classifies the pictures and, with --alarm, what compares them with earlier ones."""
    from cvgssl.recognizer.predict import find_nearest, recognition

    work = recognition(config)
    if config.alarm is None:
        return work, None
    from cvgssl.recognizer.changes import open_changes
    from cvgssl.recognizer.fitted import FittedRecognizer

    if not isinstance(work.recognizer, FittedRecognizer):
        raise UserError(
            f"--alarm: {config.recognizer} keeps no embeddings to compare with; it needs a folder "
            "of `cvgssl fit`"
        )
    changes = open_changes(work.recognizer, config.recognizer, config.alarm, config)
    nearest = find_nearest(changes.recognizer, config)
    return replace(work, recognizer=changes.recognizer, nearest=nearest), changes


def _say(prediction: "Prediction", place: Path | None) -> None:
    from cvgssl.recognizer.answers import path_text

    cells = [path_text(prediction.path), prediction.answer, f"{prediction.probability:.6f}"]
    if place is not None:
        cells.append(path_text(place))
    print("\t".join(map(printable, cells)), flush=True)


def _say_nothing(_prediction: "Prediction", _place: Path | None) -> None:
    pass


def _sum_up(counts: dict[str, int], rate: float | None) -> None:
    from cvgssl.recognizer.answers import summary, too_many_unknown

    print(printable(summary(counts)), file=sys.stderr)
    if rate is not None and (warning := too_many_unknown(counts, rate)):
        print(warning, file=sys.stderr)


def _outputs(config: PredictConfig) -> "list[Output]":
    from cvgssl.recognizer.answer_files import Output
    from cvgssl.recognizer.answer_table import ParquetFormat
    from cvgssl.recognizer.answers import CsvFormat, JsonFormat, JsonLinesFormat, TextFormat

    forms: dict[str, type[TextFormat]] = {
        "--csv": CsvFormat,
        "--json": JsonFormat,
        "--jsonl": JsonLinesFormat,
        "--parquet": ParquetFormat,
    }
    return [
        Output(forms[flag](), sys.stdout.buffer if path == STDOUT else path)
        for flag, path in config.targets.items()
    ]


def _show(work: "Recognition") -> dict[str, int]:
    """Print a table of the first pictures once they are named; gives the counts of all answers."""
    counts = Counter[str]()

    def each() -> "Iterator[Prediction]":
        for batch in work.batches():
            counts.update(prediction.answer for prediction in batch)
            yield from batch

    predictions = each()
    first = list(islice(predictions, SHOWN))
    _print_table(first, work.with_verdicts, work.nearest is not None)
    more = sum(1 for _ in predictions)
    if more:
        print(f"... and {more} more; --csv FILE writes all")
    return counts


def _print_table(
    predictions: "Sequence[Prediction]", with_verdicts: bool, with_nearest: bool
) -> None:
    """Path, (with verdicts) answer, class, probability, runner-up, (with nearest) the first one."""
    from cvgssl.recognizer.answers import path_text
    from cvgssl.report.terminal import print_table

    rows = []
    for prediction in predictions:
        (label, first), *others = prediction.ranked()
        second = f"{others[0][0]} {100 * others[0][1]:.1f} %" if others else ""
        answer = [prediction.answer] if with_verdicts else []
        near = [
            f"{each.name} ({each.label}, {each.similarity:.2f})"
            for each in (prediction.nearest or ())[:1]
        ]
        shown = [path_text(prediction.path), *answer, label, f"{100 * first:.1f} %", second]
        rows.append([*shown, *near])
    answer = ["answer"] if with_verdicts else []
    near = ["most like"] if with_nearest else []
    print_table("", ["path", *answer, "class", "probability", "runner-up", *near], rows)
