"""`cvgssl predict RECOGNIZER IMAGES...`: names the class of pictures, also as they arrive."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.recognizer.config import PICTURES_BETWEEN, AlarmOptions, PredictOptions, SortMode
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import locked_file, locked_folder
from cvgssl.runtime.options import STRICT, Written
from cvgssl.runtime.parsing import printable
from cvgssl.runtime.stopping import stop_requests

if TYPE_CHECKING:
    from cvgssl.recognizer.answer_files import Output
    from cvgssl.recognizer.changes import Changes
    from cvgssl.recognizer.predict import Prediction, Recognition

STDOUT = Path("-")
SHOWN = 100  # rows of the table; more are for a file


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictConfig(PredictOptions, AlarmOptions):
    """Name the class of pictures with a recognizer, with probabilities.

    Prints a table, or writes CSV, JSON or Parquet with the probabilities of all classes. Files grow
    as FILE.part; the same command goes on there after an interruption.

    With --watch or --sort-into it prints a line for each picture (path, answer, probability, place,
    with tabs between), and appends rows to FILE, whose pictures it does not name again.
    """

    images: tuple[Path, ...] = Field(
        default=(), description="picture files, and folders to be searched for pictures"
    )
    watch: Path | None = Field(
        default=None,
        description="instead of IMAGES: name pictures as they arrive in this folder and below, "
        "until Ctrl-C",
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="with --watch: time between two looks at the folder; a picture is named when "
        "it is the same at both",
    )
    alarm: Annotated[Path | None, Written()] = Field(
        default=None,
        description="with --watch: also tell when the pictures change (camera, lamp, product), in "
        "a line on standard error and in --jsonl; earlier pictures are remembered in this file; "
        "for recognizers of `cvgssl fit`",
    )
    sort_into: Annotated[Path | None, Written(folder=True)] = Field(
        default=None,
        description="bring each picture into a folder of its answer below this one, never over "
        "another file",
    )
    sort_mode: SortMode = Field(
        default="copy", description="with --sort-into: leave the pictures where they are, or not"
    )
    csv: Annotated[Path | None, Written()] = Field(
        default=None, description="write CSV to this file; - is standard output"
    )
    json: Annotated[Path | None, Written()] = Field(
        default=None, description="write JSON to this file; - is standard output"
    )
    jsonl: Annotated[Path | None, Written()] = Field(
        default=None,
        description="write JSON lines, an object for each picture, to this file; - is standard "
        "output",
    )
    parquet: Annotated[Path | None, Written()] = Field(
        default=None, description="write a Parquet table to this file"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        on_stdout = [f"{flag} -" for flag, path in self.targets.items() if path == STDOUT]
        if len(on_stdout) > 1:
            problems.append(f"{' '.join(on_stdout)}: only one of them can go to standard output")
        if not self.images and self.watch is None:
            problems.append("IMAGES is needed (or --watch FOLDER)")
        if self.images and self.watch is not None:
            problems.append("IMAGES, --watch: name one of them")
        if self.watch is None and self.poll_seconds != 1:
            problems.append("--poll-seconds: has no effect without --watch")
        if self.alarm is not None and self.watch is None:
            problems.append("--alarm: has no effect without --watch")
        if self.alarm is None:
            given = {
                "--false-alarm-every": self.false_alarm_every != PICTURES_BETWEEN,
                "--run-length": self.run_length != 1,
            }
            problems += [f"{flag}: has no effect without --alarm" for flag in given if given[flag]]
        if self.sort_into is None and self.sort_mode != "copy":
            problems.append("--sort-mode: has no effect without --sort-into")
        for flag, path in (("--json", self.json), ("--parquet", self.parquet)):
            if self.goes_on and path is not None:
                problems.append(
                    f"{flag}: is whole only at an end; --watch and --sort-into take --jsonl"
                )
        if self.parquet is not None and _is_stream(self.parquet):
            problems.append(f"--parquet {self.parquet}: takes a regular file; --csv takes streams")
        return problems + self._sorted_inside()

    def _sorted_inside(self) -> list[str]:
        if self.sort_into is None:
            return []
        place = self.sort_into.resolve()
        return [
            f"--sort-into {self.sort_into}: is inside {folder}, whose pictures would be named "
            "again; name a place outside"
            for folder in (*self.images, *([self.watch] if self.watch else []))
            if place.is_relative_to(folder.resolve())
        ]

    @property
    def targets(self) -> dict[str, Path]:
        """Where answers go, by flag."""
        named = {
            "--csv": self.csv,
            "--json": self.json,
            "--jsonl": self.jsonl,
            "--parquet": self.parquet,
        }
        return {flag: path for flag, path in named.items() if path is not None}

    @property
    def goes_on(self) -> bool:
        """Whether answers are added to files that stay open for more."""
        return self.watch is not None or self.sort_into is not None


def _is_stream(path: Path) -> bool:
    return path == STDOUT or (path.exists() and not path.is_file() and not path.is_dir())


COMMAND = Command(PredictConfig, positional=("model", "images"))


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
                print(f"written to {path}", file=sys.stderr)
    else:
        counts = _show(work)
    _sum_up(counts, config.rate)


def _go_on(config: PredictConfig) -> None:
    """Name pictures one after the other; ended by a signal, what is at work is finished."""
    from cvgssl.recognizer.growing import GrowingFile
    from cvgssl.recognizer.sorting import Sorter
    from cvgssl.recognizer.watching import Line, name_listed, watch

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
        told = _say_nothing if STDOUT in config.targets.values() else _say
        line = Line(work, config, outputs, sorter, told, changes)
        try:
            if config.watch is None:
                name_listed(line, work.reading.paths)
            else:
                with stop_requests() as ends:
                    watch(line, config.watch, config.poll_seconds, ends)
        except KeyboardInterrupt:
            _sum_up(line.counts, config.rate)
            raise
        _sum_up(line.counts, config.rate)


def _opened(config: PredictConfig) -> "tuple[Recognition, Changes | None]":
    """What names the pictures and, with --alarm, what compares them with earlier ones."""
    from cvgssl.recognizer.predict import find_nearest, recognition

    work = recognition(config)
    if config.alarm is None:
        return work, None
    from cvgssl.recognizer.changes import open_changes
    from cvgssl.recognizer.fitted import FittedRecognizer

    if not isinstance(work.recognizer, FittedRecognizer):
        raise UserError(
            f"--alarm: {config.model} keeps no embeddings to compare with; it needs a folder of "
            "`cvgssl fit`"
        )
    changes = open_changes(work.recognizer, config.model, config.alarm, config)
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
