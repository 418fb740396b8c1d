"""Options of `cvgssl predict` and the checks of them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.recognizer.config import (
    PICTURES_BETWEEN,
    AlarmOptions,
    PredictOptions,
    SortMode,
    WatchedFolder,
)
from cvgssl.runtime.options import STRICT, Written

STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictConfig(PredictOptions, AlarmOptions, WatchedFolder):
    """Classify pictures by a recognizer, with probabilities.

    Prints a table, or writes CSV, JSON or Parquet with the probabilities of all classes. Files grow
    as FILE.part; the same command goes on there after an interruption.

    With --watch or --sort-into it prints a line for each picture (path, answer, probability, place,
    with tabs between), and appends rows to FILE, whose pictures it does not classify again.
    """

    pictures: tuple[Path, ...] = Field(
        default=(), description="picture files, and folders to be searched for pictures"
    )
    alarm: Annotated[Path | None, Written()] = Field(
        default=None,
        description="with --watch: also report when the pictures change (camera, lamp, product), "
        "in a line on standard error and in --jsonl; earlier pictures are remembered in this file; "
        "for recognizers of `cvgssl fit`",
    )
    sort_into: Annotated[Path | None, Written(folder=True)] = Field(
        default=None,
        description="bring each picture into a folder of its answer below this one, never over "
        "another file",
    )
    sort_mode: SortMode = Field(
        default="copy",
        description="with --sort-into; copy: pictures stay where they are; move: they do not",
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
        if not self.pictures and self.watch is None:
            problems.append("PICTURES is needed (or --watch FOLDER)")
        if self.pictures and self.watch is not None:
            problems.append("PICTURES, --watch: name one of them")
        if self.alarm is not None and self.watch is None:
            problems.append("--alarm: has no effect without --watch")
        if self.alarm is None:
            given = {
                "--false-alarm-every": self.false_alarm_every != PICTURES_BETWEEN,
                "--pictures-per-part": self.pictures_per_part != 1,
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
            for folder in (*self.pictures, *([self.watch] if self.watch else []))
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
