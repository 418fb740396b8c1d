"""The labelled pictures that are most like another one: what an answer can be held against.

Imports no torch.

Shape letters: B pictures, L labelled pictures, D numbers of all encoders together, K classes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.images.names import text_form
from cvgssl.recognizer.config import MOST_NEAREST
from cvgssl.recognizer.exported import ExportedRecognizer
from cvgssl.recognizer.exported_file import GraphOutputs
from cvgssl.recognizer.predict import Neighbour, Recognizing
from cvgssl.runtime.parsing import parsing

if TYPE_CHECKING:
    from cvgssl.recognizer.fitted import FittedRecognizer


class Nearest(Protocol):
    """A recognizer that also names labelled pictures, `most` of them."""

    most: int

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None], list[tuple[Neighbour, ...]]]:
        """Probabilities [B, K] and verdicts [B], see `Recognizing`.

        And of each picture [B] the labelled ones that are most like it, the most similar first.
        """


def nearest_of(recognizer: Recognizing, path: Path, most: int = MOST_NEAREST) -> Nearest | None:
    """The same recognizer with labelled pictures; None for trained ones, which keep none.

    path: its folder or file. Raises UserError for a folder that is damaged.
    """
    if isinstance(recognizer, ExportedRecognizer):
        return _Exported(recognizer, most) if "labelled" in recognizer.file.metadata else None
    from cvgssl.recognizer.fitted import FittedRecognizer

    return _Fitted(recognizer, path, most) if isinstance(recognizer, FittedRecognizer) else None


class _Fitted:
    def __init__(self, recognizer: "FittedRecognizer", folder: Path, most: int) -> None:
        from cvgssl.features.table import UNLABELLED
        from cvgssl.recognizer.card import load_recognizer

        card, kept = load_recognizer(folder)
        train = kept.train
        labelled = train.take(np.flatnonzero(train.labels != UNLABELLED))
        self._recognizer, self.most = recognizer, min(most, len(labelled))
        self._names = [text_form(name) for name in labelled.names]
        self._labels = [card.classes[label] for label in labelled.labels]
        self._rows = recognizer.head.preparation.transform(labelled.values)  # [L, D], length 1

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None], list[tuple[Neighbour, ...]]]:
        embeddings = self._recognizer.embed(squares)
        rows = self._recognizer.head.preparation.transform(embeddings)
        near = [self._of(cosines) for cosines in rows @ self._rows.T]
        return *self._recognizer.answer(squares, embeddings), near

    def _of(self, cosines: NDArray[np.float64]) -> tuple[Neighbour, ...]:
        order = np.argsort(-cosines, kind="stable")[: self.most]
        return tuple(
            Neighbour(self._names[row], self._labels[row], round(float(cosines[row]), 6))
            for row in order
        )


class _Exported:
    def __init__(self, recognizer: ExportedRecognizer, most: int) -> None:
        self._recognizer = recognizer
        with self._parsing():
            labelled: list[Any] = recognizer.file.metadata["labelled"]
            self._labelled = [(str(name), str(label)) for name, label in labelled]
        self.most = min(most, len(labelled))

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None], list[tuple[Neighbour, ...]]]:
        answers = self._recognizer.answers(squares)
        with self._parsing():
            near = [self._of(answer) for answer in answers]
        return *self._recognizer.judged(answers), near

    def _parsing(self) -> AbstractContextManager[None]:
        return parsing(self._recognizer.file.path, "a file of `cvgssl export`", "export it again")

    def _of(self, answer: GraphOutputs) -> tuple[Neighbour, ...]:
        pairs = zip(answer["nearest"], answer["similarity"], strict=True)
        return tuple(
            Neighbour(*self._labelled[int(place)], round(float(cosine), 6))
            for place, cosine in list(pairs)[: self.most]
        )
