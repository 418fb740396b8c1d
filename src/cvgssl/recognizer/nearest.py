"""The labelled pictures that are most like another one: what an answer can be held against.

Shape letters: B pictures, L labelled pictures, D numbers of all encoders together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.images.names import text_form
from cvgssl.recognizer.exported import ExportedRecognizer
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.predict import Recognizing
from cvgssl.runtime.parsing import parsing

WHITE = 255  # of what this project's reader gives
MOST = 5


@dataclass(frozen=True)
class Neighbour:
    """A labelled picture. name: as the recognizer's labels.csv has it. label: its class.

    similarity: cosine of the prepared embeddings, -1..1.
    """

    name: str
    label: str
    similarity: float


Nearest = Callable[[Sequence[Sequence[Square]]], list[list[Neighbour]]]
"""Squares of B readable pictures, for each geometry of the recognizer, to the most similar
labelled pictures of each, the most similar first."""


def nearest_of(recognizer: Recognizing, path: Path, most: int = MOST) -> Nearest | None:
    """What finds them for a recognizer; None for trained ones, which name no labelled pictures.

    path: its folder or file. Raises UserError for a folder that is damaged.
    """
    if isinstance(recognizer, FittedRecognizer):
        return _Fitted(recognizer, path, most)
    if isinstance(recognizer, ExportedRecognizer) and "labelled" in recognizer.file.metadata:
        return _Exported(recognizer, most)
    return None


class _Fitted:
    def __init__(self, recognizer: FittedRecognizer, folder: Path, most: int) -> None:
        from cvgssl.features.table import UNLABELLED
        from cvgssl.recognizer.card import load_recognizer

        card, kept = load_recognizer(folder)
        train = kept.train
        labelled = train.take(np.flatnonzero(train.labels != UNLABELLED))
        self._recognizer, self._most = recognizer, most
        self._names = [text_form(name) for name in labelled.names]
        self._labels = [card.classes[label] for label in labelled.labels]
        self._rows = recognizer.head.preparation.transform(labelled.values)  # [L, D], length 1

    def __call__(self, squares: Sequence[Sequence[Square]]) -> list[list[Neighbour]]:
        preparation = self._recognizer.head.preparation
        rows = preparation.transform(self._recognizer.embed(squares))
        return [self._of(cosines) for cosines in rows @ self._rows.T]

    def _of(self, cosines: NDArray[np.float64]) -> list[Neighbour]:
        order = np.argsort(-cosines, kind="stable")[: self._most]
        return [
            Neighbour(self._names[row], self._labels[row], round(float(cosines[row]), 6))
            for row in order
        ]


class _Exported:
    def __init__(self, recognizer: ExportedRecognizer, most: int) -> None:
        self._file, self._most = recognizer.file, most
        with parsing(recognizer.file.path, "a file of `cvgssl export`", "export it again"):
            self._labelled = [
                (str(name), str(label)) for name, label in recognizer.file.metadata["labelled"]
            ]

    def __call__(self, squares: Sequence[Sequence[Square]]) -> list[list[Neighbour]]:
        (shown,) = squares
        return [self._of(square) for square in shown if square.pixels is not None]

    def _of(self, square: Square) -> list[Neighbour]:
        assert square.pixels is not None
        answer = self._file(square.pixels.transpose(1, 2, 0), WHITE)
        pairs = zip(answer["nearest"], answer["similarity"], strict=True)
        return [
            Neighbour(*self._labelled[int(place)], round(float(cosine), 6))
            for place, cosine in list(pairs)[: self._most]
        ]
