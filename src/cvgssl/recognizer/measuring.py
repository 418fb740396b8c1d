"""What is measured of pictures while they are classified, to be compared with earlier ones.

Shape letters: B pictures, N train pictures, D numbers of an embedding, V values of a picture, see
`heads.change.Reference`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.change_reference import Reference, light_of
from cvgssl.images.decoding import Square
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.runtime.errors import UserError


class Seen(NamedTuple):
    """Of B pictures. squares: the first of each. labels: the likeliest classes [B].

    embeddings: float32 [B, D].
    """

    squares: Sequence[Square]
    labels: NDArray[np.intp]
    embeddings: NDArray[np.float32]


class Arrival(NamedTuple):
    """A picture, measured. name: as it was given. label: number of the class it is taken for.

    embedding: float32 [D]. values: float64 [V]. nearest: the train picture most like it.
    """

    name: str
    label: int
    embedding: NDArray[np.float32]
    values: NDArray[np.float64]
    nearest: int


class Measure:
    """Measures what a recognizer of `cvgssl fit` has seen; for any number of threads."""

    def __init__(self, recognizer: FittedRecognizer, train: NDArray[np.float32]) -> None:
        """train: embeddings [N, D] that it keeps; raises UserError where they are too few."""
        self._preparation = recognizer.head.preparation
        try:
            self._reference = Reference(self._preparation.transform(train))
        except ValueError as error:
            raise UserError(f"--alarm: {error} among the recognizer's train pictures") from error

    def __call__(self, names: Sequence[str], seen: Seen) -> list[Arrival]:
        """Of pictures with these names."""
        light = [light_of(square.pixels) for square in seen.squares if square.pixels is not None]
        rows = self._preparation.transform(seen.embeddings)
        values, nearest = self._reference.measure(rows, np.array(light))
        each = zip(names, seen.labels, seen.embeddings, values, nearest, strict=True)
        return [
            Arrival(name, int(label), embedding, row, int(near))
            for name, label, embedding, row, near in each
        ]


@dataclass(frozen=True)
class NotingRecognizer(FittedRecognizer):
    """One that gives away what it sees while it classifies pictures.

    note: called with each batch, by the thread that classifies it.
    """

    note: Callable[[Seen], object]

    def answer(
        self, squares: Sequence[Sequence[Square]], embeddings: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """See `FittedRecognizer`."""
        probabilities, verdicts = super().answer(squares, embeddings)
        self.note(Seen(squares[0], probabilities.argmax(axis=1), embeddings))
        return probabilities, verdicts


def noting(recognizer: FittedRecognizer, note: Callable[[Seen], object]) -> NotingRecognizer:
    """The same recognizer with a `note`."""
    return NotingRecognizer(recognizer.classes, recognizer.embedding, recognizer.head, note)
