"""A cell: one head on one encoder's features of one data set, in one setting, at one shot.

Its result is a JSON file, keyed by a digest of all that it depends on: a benchmark that runs again
computes what is missing or has changed.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cvgssl.features
import cvgssl.fewshot.heads
from cvgssl.bench.config import HeadChoice
from cvgssl.bench.recorded import file_name
from cvgssl.bench.sources import Source
from cvgssl.runtime.files import read_json, write_text

CELLS = "cells"
FORM = 1  # raise when a cell's file or the way it is computed changes


@dataclass(frozen=True)
class Cell:
    """What is to be computed. `draws` is the digest of its draws."""

    source: Source
    choice: HeadChoice
    setting: str
    shot: int
    preparation: str
    draws: str

    def key(self) -> str:
        """SHA-256 of features, draws, head with all its parameters, and the code of the heads."""
        parts = {
            "form": FORM,
            "features": self.source.digest,
            "draws": self.draws,
            "head": self.choice.head,
            "params": parameters(self.choice),
            "setting": self.setting,
            "preparation": self.preparation,
            "code": code_digest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()

    def path(self, out: Path) -> Path:
        """Where the result lies in the benchmark's folder."""
        parts = (self.source.data, self.source.encoder, self.setting, self.choice.label)
        return out.joinpath(CELLS, *map(file_name, parts), f"shot_{self.shot}.json")


@dataclass(frozen=True)
class CellResult:
    """What a cell found.

    uses_unlabelled: whether the head looks at pictures without a label.
    accuracy, macro_recall: per cent, for each draw. seconds: of fit and prediction, for each.
    confusion: counts [K, K] summed over the draws, row true class.
    mistakes: by picture, its true class, the class it was most often mistaken for, how often,
        and how often it was asked.
    """

    key: str
    data: str
    encoder: str
    head: str
    setting: str
    shot: int
    uses_unlabelled: bool
    params: dict[str, Any]
    accuracy: list[float]
    macro_recall: list[float]
    seconds: list[float]
    classes: list[str]
    confusion: list[list[int]]
    mistakes: dict[str, tuple[int, int, int, int]]


def parameters(choice: HeadChoice) -> dict[str, Any]:
    """All parameters of the head, defaults included."""
    head = cvgssl.fewshot.heads.HEADS[choice.head](**choice.params)
    return dict(head.get_params())


def write_cell(result: CellResult, path: Path) -> None:
    """Write `result`, whole or not at all."""
    write_text(path, json.dumps(asdict(result), ensure_ascii=False, default=repr) + "\n")


def read_cell(path: Path, key: str) -> CellResult | None:
    """The result in `path` if it is there and was computed from the same things."""
    try:
        value = read_json(path)
        if value["key"] != key:
            return None
        return CellResult(**value)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: computed again


@cache
def code_digest() -> str:
    """SHA-256 of the source of heads and features: other code may give other numbers."""
    folders = [Path(package.__path__[0]) for package in (cvgssl.features, cvgssl.fewshot.heads)]
    digest = hashlib.sha256()
    for file in (file for folder in folders for file in sorted(folder.rglob("*.py"))):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
