"""Class and probability of pictures by a recognizer.

Shapes: B pictures, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.reading import Reading
from cvgssl.heads.verdicts import taken_for_verdicts
from cvgssl.images.decoding import Square, check_readable, warn_if_dark
from cvgssl.images.geometry import MAX_MEGAPIXELS, Geometry, Whole
from cvgssl.recognizer.config import DEFAULT_RATE, EXPORTED, Checkpoint, PredictOptions
from cvgssl.recognizer.finding import CARD, find_pictures, find_recognizer
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime
from cvgssl.runtime.progress import progress

if TYPE_CHECKING:
    from cvgssl.recognizer.answers import TextFormat
    from cvgssl.recognizer.nearest import Nearest


@dataclass(frozen=True)
class Neighbour:
    """A labelled picture. name: as the recognizer's labels.csv has it. label: its class.

    similarity: cosine of the prepared embeddings, -1..1.
    """

    name: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Prediction:
    """What a recognizer says about one picture.

    classes: K names. probabilities: float32 [K], in that order, sum 1.
    verdict: "known", "unknown" or "not sure"; None unless it was asked for.
    nearest: labelled pictures that are most like it, the most similar first; None likewise.
    """

    path: Path
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    verdict: str | None = None
    nearest: tuple[Neighbour, ...] | None = None

    @property
    def predicted_class(self) -> str:
        """The most likely class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def answer(self) -> str:
        """The most likely class, or "unknown" or "not sure" where that is the verdict."""
        return self.predicted_class if self.verdict in (None, "known") else str(self.verdict)

    @property
    def probability(self) -> float:
        """That of the most likely class."""
        return float(self.probabilities.max())

    def ranked(self) -> list[tuple[str, float]]:
        """All classes and their probabilities, the most likely first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.classes[i], float(self.probabilities[i])) for i in order]


def predict(
    recognizer: Path,
    pictures: Sequence[Path],
    *,
    draw: int = 1,
    checkpoint: Checkpoint = "last",
    batch_size: int = 64,
    skip_corrupt: bool = False,
    unknown: bool = False,
    false_rejection_rate: float = DEFAULT_RATE,
    nearest: int = 0,
    encoder_files: Sequence[str] = (),
    max_megapixels: int = MAX_MEGAPIXELS,
    gpu: int | None = None,
    runtime: Runtime = "auto",
) -> list[Prediction]:
    """Recognize picture files, and all pictures in folders, in the order given.

    recognizer: a run folder (the last or averaged weights of its draw `draw`, from 1), a
        .safetensors file that a run wrote, a folder of `cvgssl.fit`, or a file of
        `cvgssl.export_recognizer`, which needs no torch.
    A GPU is used if there is one, but not by exported files; gpu: its number. Pictures are decoded
    as they are needed, so any number of them fits in memory. Unreadable ones are an error that
    names them all; with `skip_corrupt` they are left out with a warning each.
    unknown: also give verdicts, by the labelled pictures' features that linear evaluation and
        `fit` keep; about the share `false_rejection_rate` of the pictures of known classes will
        be called unknown; exported files have fixed thresholds.
    nearest: labelled pictures to name with each answer, up to 5, of a folder of `fit` and files of
        it.
    encoder_files: for a folder of `fit`: weights that have been moved since.
    max_megapixels: millions of pixels of the largest picture that is read.
    runtime: what runs frozen networks on the CPU, torch, openvino or onnxruntime; auto: openvino
        if it is installed and takes the network, else torch.
    Raises UserError for them, for a missing or damaged recognizer, and for one that lacks such
    features.
    """
    options = PredictOptions(
        recognizer=recognizer,
        pictures=tuple(pictures),
        draw=draw,
        checkpoint=checkpoint,
        batch_size=batch_size,
        skip_corrupt=skip_corrupt,
        max_megapixels=max_megapixels,
        unknown=unknown,
        false_rejection_rate=false_rejection_rate,
        nearest=nearest,
        encoder_files=tuple(encoder_files),
        gpu=gpu,
        runtime=runtime,
    )
    return [each for batch in recognition(options).batches() for each in batch]


class Recognizing(Protocol):
    """What classifies pictures."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""

    @property
    def geometries(self) -> tuple[Geometry | Whole, ...]:
        """How each picture becomes squares."""

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities [B, K] and verdicts [B] of B readable squares for each geometry."""


@dataclass(frozen=True)
class Recognition:
    """Pictures and what classifies them; the work is done as the batches are asked for.

    file: that says which recognizer it is. with_verdicts: whether predictions have verdicts.
    nearest: what names labelled pictures, too; None for none.
    """

    file: Path
    recognizer: Recognizing
    reading: Reading
    with_verdicts: bool
    nearest: "Nearest | None" = None

    def begin(self, form: "TextFormat") -> str:
        """What a file of its predictions begins with."""
        most = 0 if self.nearest is None else self.nearest.most
        return form.begin(self.recognizer.classes, self.with_verdicts, most)

    def batches(self, start: int = 0) -> Iterator[list[Prediction]]:
        """Predictions of the readable pictures from place `start` on, a few at a time.

        At the end it warns of dark pictures and of those that were left out; raises UserError for
        unreadable ones without `skip_corrupt`.
        """
        reading = self.reading
        with progress("pictures", len(reading.paths) - start) as advance:
            yield from self.classified(reading, advance, start)
        check_readable(reading.reasons(), len(reading.paths), reading.options.skip_corrupt)
        warn_if_dark(reading.brightest, self.recognizer.geometries[0])

    def classified(
        self, reading: Reading, advance: Callable[[int], None], start: int = 0
    ) -> Iterator[list[Prediction]]:
        """Predictions of what `reading` gives, a few at a time; it notes what it cannot read.

        advance, start: see `Reading.batches`.
        """
        for batch in reading.batches(advance, start):
            ask = self.recognizer if self.nearest is None else self.nearest
            answers = zip(batch.places, *ask(batch.squares), strict=True)
            yield [
                Prediction(reading.paths[place], self.recognizer.classes, *answer)
                for place, *answer in answers
            ]


def recognition(options: PredictOptions) -> Recognition:
    """Find the pictures and load the recognizer; raises UserError for what is missing or wrong."""
    file = find_recognizer(options)
    paths = find_pictures(options.pictures)
    recognizer = open_recognizer(file, options)
    reading = Reading(
        paths,
        recognizer.geometries,
        options,
    )
    nearest = find_nearest(recognizer, options)
    return Recognition(file, recognizer, reading, options.unknown, nearest)


def find_nearest(recognizer: Recognizing, options: PredictOptions) -> "Nearest | None":
    """What names labelled pictures, if that is asked for; raises UserError where there are none."""
    if not options.nearest:
        return None
    from cvgssl.recognizer.nearest import nearest_of

    nearest = nearest_of(recognizer, options.recognizer, options.nearest)
    if nearest is None:
        raise UserError(
            f"--nearest: {options.recognizer} keeps no labelled pictures; it needs a folder of "
            "`cvgssl fit`, or a file of one"
        )
    return nearest


def open_recognizer(file: Path, options: PredictOptions) -> Recognizing:
    """The recognizer that `find_recognizer` gave; raises UserError where it cannot be used so."""
    recognizer = _load(file, options)
    if options.unknown and (taken := taken_for_verdicts(recognizer.classes)):
        raise UserError(
            f"--unknown: {file} has a class called {taken[0]!r}, which nobody could tell from that "
            "answer; rename the class and make the recognizer again, or do without --unknown"
        )
    return recognizer


def _load(file: Path, options: PredictOptions) -> Recognizing:
    if file.name == CARD:
        from cvgssl.recognizer.fitted import load_fitted

        return load_fitted(options)
    if file.suffix.lower() in EXPORTED:
        from cvgssl.recognizer.exported import load_exported

        return load_exported(options)
    from cvgssl.recognizer.trained import load_trained

    return load_trained(file, options)
