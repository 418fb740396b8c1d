"""Pictures classified by a file of `cvgssl export`, by ONNX Runtime or OpenVINO, without torch.

Shape letters: B pictures, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.verdicts import KNOWN, NOT_SURE, UNKNOWN
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry, Whole
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.exported_file import ExportedFile, GraphOutputs
from cvgssl.recognizer.golden import check_once
from cvgssl.runtime.errors import UserError

_WHITE = 255  # of what this project's reader gives


@dataclass(frozen=True)
class Thresholds:
    """Below them a picture is "unknown" by its score, or "not sure" by its probability."""

    score: float
    probability: float

    def verdict(self, answer: GraphOutputs) -> str:
        """What `OpenSetHead` says."""
        if not answer["score"] >= self.score:
            return UNKNOWN
        return KNOWN if answer["probabilities"].max() >= self.probability else NOT_SURE


@dataclass(frozen=True)
class ExportedRecognizer:
    """Pixels to probabilities.

    classes: K names. geometries: the way in which the file resizes, whose squares it leaves as
    they are, so that large pictures are decoded in bands; whole pictures where it has several.
    thresholds: for verdicts; None for none.
    """

    classes: tuple[str, ...]
    geometries: tuple[Geometry | Whole, ...]
    file: ExportedFile
    thresholds: Thresholds | None

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones, in a list of one.
        """
        return self.judged(self.answers(squares))

    def answers(self, squares: Sequence[Sequence[Square]]) -> list[GraphOutputs]:
        """All that the file says of the same pictures [B]."""
        (shown,) = squares
        return [
            self.file(square.pixels.transpose(1, 2, 0), _WHITE)
            for square in shown
            if square.pixels is not None
        ]

    def judged(
        self, answers: Sequence[GraphOutputs]
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities and verdicts in them."""
        limits = self.thresholds
        verdicts = [None if limits is None else limits.verdict(each) for each in answers]
        return np.stack([each["probabilities"] for each in answers]), verdicts


def load_exported(options: PredictOptions) -> ExportedRecognizer:
    """The recognizer of the file `options.recognizer`, checked by the pictures that it carries.

    Raises UserError for what is no such file, one that answers otherwise than when it was made,
    and for one without scores where verdicts are asked for.
    """
    file = ExportedFile(options.recognizer)
    check_once(file)
    thresholds = _thresholds(file) if options.unknown else None
    ways = file.geometries
    geometries = ways if len(ways) == 1 else (Whole(ways[0].bit_depth),)
    return ExportedRecognizer(tuple(file.classes), geometries, file, thresholds)


def _thresholds(file: ExportedFile) -> Thresholds:
    limits = [file.metadata.get(name) for name in ("unknown_below", "not_sure_below")]
    score, probability = (value if type(value) in (int, float) else None for value in limits)
    if "score" not in file.outputs or score is None or probability is None:
        raise UserError(
            f"{file.path}: is of a trained run and has no score; --unknown needs a file of a "
            "recognizer of `cvgssl fit`"
        )
    return Thresholds(score, probability)
