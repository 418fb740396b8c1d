"""`cvgssl predict RUN IMAGES...`: names the class of pictures with a trained run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from cvgssl.cli.options import Command
from cvgssl.runtime.files import write_text

if TYPE_CHECKING:
    from cvgssl.recognizer.predict import Prediction

STDOUT = Path("-")
SHOWN = 100  # rows of the table; more are for a file


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PredictConfig:
    """Name the class of pictures with a trained run, with probabilities.

    Prints a table, or writes CSV or JSON with the probabilities of all classes.
    """

    model: Path = Field(
        description="run folder (of finetune, linear or fit), or a .safetensors file from its "
        "weights/"
    )
    images: tuple[Path, ...] = Field(
        min_length=1, description="picture files, and folders to be searched for pictures"
    )
    csv: Path | None = Field(None, description="write CSV to this file; - is standard output")
    json: Path | None = Field(None, description="write JSON to this file; - is standard output")
    run: int = Field(1, ge=1, description="which run of a run folder")
    checkpoint: Literal["last", "ema"] = Field(
        "last", description="weights of the last epoch, or their running average"
    )
    batch_size: int = Field(64, ge=1, description="pictures per step")
    skip_corrupt: bool = Field(False, description="leave unreadable pictures out and go on")
    unknown: bool = Field(
        False,
        description='also answer "unknown" for pictures unlike the labelled ones, and "not sure"; '
        "for runs of `cvgssl linear` and `cvgssl fit`",
    )
    false_rejection_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="with --unknown: share of the pictures of known classes that may be called "
        "unknown",
    )
    encoder: tuple[str, ...] = Field(
        (),
        description="for a run of `cvgssl fit` whose encoder's weights have been moved: the files",
    )

    @model_validator(mode="after")
    def _check(self) -> "PredictConfig":
        problems = []
        if self.false_rejection_rate != 0.1 and not self.unknown:
            problems.append("--false-rejection-rate: has no effect without --unknown")
        if self.csv == STDOUT and self.json == STDOUT:
            problems.append("--csv - --json -: only one of them can go to standard output")
        for flag, path in (("--csv", self.csv), ("--json", self.json)):
            if path is not None and path.is_dir():
                problems.append(f"{flag} {path}: is a folder; name a file")
        if problems:
            raise ValueError("\n".join(problems))
        return self


COMMAND = Command(PredictConfig, positional=("model", "images"))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the command; 0 when all pictures got a class."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.recognizer.predict import predict, summary, to_csv, to_json

    predictions = predict(
        config.model,
        config.images,
        run=config.run,
        checkpoint=config.checkpoint,
        batch_size=config.batch_size,
        skip_corrupt=config.skip_corrupt,
        unknown=config.unknown,
        false_rejection_rate=config.false_rejection_rate,
        encoder=config.encoder,
    )
    for path, to_text in ((config.csv, to_csv), (config.json, to_json)):
        if path == STDOUT:
            sys.stdout.buffer.write(to_text(predictions).encode("utf-8"))
        elif path is not None:
            write_text(path, to_text(predictions))
            print(f"written to {path}", file=sys.stderr)
    if config.csv is None and config.json is None:
        _show(predictions)
    print(summary(predictions), file=sys.stderr)
    return 0


def _show(predictions: "Sequence[Prediction]") -> None:
    """A table of path, (with verdicts) answer, class, probability and runner-up."""
    from cvgssl.recognizer.predict import path_text
    from cvgssl.report.terminal import print_table

    rows = []
    asked = predictions[0].verdict is not None
    for prediction in predictions[:SHOWN]:
        (label, first), *others = prediction.ranked()
        second = f"{others[0][0]} {100 * others[0][1]:.1f} %" if others else ""
        answer = [prediction.answer] if asked else []
        rows.append([path_text(prediction.path), *answer, label, f"{100 * first:.1f} %", second])
    answer = ["answer"] if asked else []
    print_table("", ["path", *answer, "class", "probability", "runner-up"], rows)
    if len(predictions) > SHOWN:
        print(f"... and {len(predictions) - SHOWN} more; --csv FILE writes all")
