"""A cell: one head on one encoder's features of one data set, in one setting, at one shot.

Its result is a JSON file, keyed by a digest of all that it depends on: a benchmark that runs again
computes what is missing or has changed.
"""

import ast
import hashlib
import inspect
import json
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pydantic

import cvgssl
from cvgssl.bench.entries import HeadChoice
from cvgssl.bench.recorded import file_name
from cvgssl.bench.sources import LoadedSource
from cvgssl.features.class_texts import head_options
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.features.table import load_features
from cvgssl.heads import ALL_HEADS, TEXT_HEADS, FewShotHead, own_parameters
from cvgssl.heads.auto_decision import AutoDecision
from cvgssl.heads.base import takes_views
from cvgssl.runtime.files import read_sealed_json, write_sealed_json

CELLS = "cells"
FORM = 3  # raise when a cell's file or the way it is computed changes


@dataclass(frozen=True)
class Cell:
    """What is to be computed.

    draws_digest: of its draws. chosen: who chose the labelled pictures; empty: drawn at random.
    """

    source: LoadedSource
    choice: HeadChoice
    setting: str
    shot: int
    preparation: PreparationMode
    draws_digest: str
    chosen: str = ""

    @property
    def label(self) -> str:
        """The head as tables call it, with how its pictures were chosen."""
        return f"{self.choice.label}, {self.chosen}" if self.chosen else self.choice.label

    @property
    def sees_mirrored(self) -> bool:
        """Whether the head learns from mirror images of labelled pictures."""
        return self.source.mirrored is not None and takes_views(ALL_HEADS[self.choice.head])

    def key(self) -> str:
        """SHA-256 of features, draws, head with all its parameters, and the code of the heads."""
        parts = {
            "form": FORM,
            "features": self.source.digest,
            "draws": self.draws_digest,
            "head": self.choice.head,
            "params": parameters(self.choice),
            "setting": self.setting,
            "preparation": self.preparation,
            "code": code_digest(ALL_HEADS[self.choice.head]),
        }
        if self.sees_mirrored:
            parts["mirrored"] = self.source.mirrored_digest
        if self.choice.head in TEXT_HEADS:
            parts["anchors"] = self.source.anchors_digest
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()

    def head(self) -> FewShotHead:
        """The head, not fitted."""
        known: dict[str, Any] = {}
        if self.choice.head in TEXT_HEADS:
            assert self.source.anchors is not None, "planned only where there are texts"
            known = _of_texts(self.source.anchors, self.source.anchors_digest)
        return ALL_HEADS[self.choice.head](**known | self.choice.params)

    def path(self, out: Path) -> Path:
        """The file of the result in the benchmark's folder."""
        parts = (self.source.data, self.source.encoder, self.setting, self.label)
        return out.joinpath(CELLS, *map(file_name, parts), f"shot_{self.shot}.json")


@dataclass(frozen=True)
class CellResult:
    """What was measured in a cell.

    draws_digest: of who was labelled and asked: cells of the same digest are paired.
    uses_unlabelled: whether the head looks at pictures without a label.
    accuracy, macro_recall: per cent, for each draw. seconds: of fit and prediction, for each.
    confusion: counts [K, K] summed over the draws, row true class.
    mistakes: by picture, its true class, the class it was most often mistaken for, how often,
        and how often it was asked.
    decisions: of the head `auto`, what decided in each draw; empty for other heads.
    """

    key: str
    data: str
    encoder: str
    head: str
    setting: str
    shot: int
    draws_digest: str
    uses_unlabelled: bool
    params: dict[str, Any]
    accuracy: list[float]
    macro_recall: list[float]
    seconds: list[float]
    classes: list[str]
    confusion: list[list[int]]
    mistakes: dict[str, tuple[int, int, int, int]]
    decisions: list[AutoDecision]


@lru_cache(maxsize=16)
def _of_texts(file: Path, _digest: str) -> dict[str, Any]:
    """What a head with texts is made with; remembered while the digest stays as it is."""
    return head_options(load_features(file))


_RESULT = pydantic.TypeAdapter(CellResult)


def parameters(choice: HeadChoice) -> dict[str, Any]:
    """All parameters of the head, defaults included, without those that come with the features."""
    return own_parameters(choice.head) | choice.params


def write_cell(result: CellResult, path: Path) -> None:
    """Write `result`, whole or not at all."""
    write_sealed_json(path, asdict(result))


def read_cell(path: Path, key: str) -> CellResult | None:
    """The result in `path` if it is there and was computed from the same things."""
    try:
        result = _RESULT.validate_json(json.dumps(read_sealed_json(path)), strict=True)
    except (OSError, ValueError, RecursionError):
        return None  # absent or damaged: computed again
    draws, classes = len(result.accuracy), len(result.classes)
    square = len(result.confusion) == classes and {*map(len, result.confusion)} <= {classes}
    whole = draws == len(result.macro_recall) == len(result.seconds) > 0 and square
    named = all(
        0 <= label < classes and 0 <= other < classes
        for label, other, *_ in result.mistakes.values()
    )
    return result if result.key == key and whole and named else None


@cache
def code_digest(head: type[FewShotHead]) -> str:
    """SHA-256 of the source of heads and preparation: other code may give other numbers.

    Of a head of another package, also its module.
    """
    files = code_files()
    module = inspect.getsourcefile(head)
    if module is not None and Path(module) not in files:
        files = (*files, Path(module))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


@cache  # it reads and parses some thirty files
def code_files() -> tuple[Path, ...]:
    """The modules of this package that heads and preparation consist of, imports followed."""
    package = Path(cvgssl.__path__[0])
    waiting = [*(package / "heads").rglob("*.py"), package / "features" / "preparation.py"]
    files = set[Path]()
    while waiting:
        file = waiting.pop()
        if file in files or not file.is_file():
            continue
        files.add(file)
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cvgssl."):
                module = package.joinpath(*str(node.module).split(".")[1:])
                waiting += [module.with_suffix(".py"), module / "__init__.py"]
    return tuple(sorted(files))
