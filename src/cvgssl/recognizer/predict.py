"""Class and probability of pictures by a recognizer, as a list, CSV or JSON.

Shapes: B pictures, C channels (1 or 3), S side in pixels, K classes.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square, check_readable, decode_squares
from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import list_pictures
from cvgssl.recognizer.card import is_fitted
from cvgssl.runtime.csv_writing import csv_text
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress


@dataclass(frozen=True)
class Prediction:
    """What a recognizer says about one picture.

    classes: K names. probabilities: float32 [K], in that order, sum 1.
    verdict: "known", "unknown" or "not sure"; None unless it was asked for.
    """

    path: Path
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    verdict: str | None = None

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def answer(self) -> str:
        """The most likely class, or "unknown" or "not sure" where that is the verdict."""
        return self.label if self.verdict in (None, "known") else str(self.verdict)

    @property
    def probability(self) -> float:
        """That of the most likely class."""
        return float(self.probabilities.max())

    def ranked(self) -> list[tuple[str, float]]:
        """All classes and their probabilities, the most likely first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.classes[i], float(self.probabilities[i])) for i in order]


def predict(
    run_or_model: Path,
    images: Sequence[Path],
    *,
    run: int = 1,
    checkpoint: Literal["last", "ema"] = "last",
    batch_size: int = 64,
    skip_corrupt: bool = False,
    unknown: bool = False,
    false_rejection_rate: float = 0.1,
    encoder: Sequence[str] = (),
) -> list[Prediction]:
    """Recognize picture files, and all pictures in folders, in the order given.

    run_or_model: a run folder (the last or averaged weights of its run `run`, from 1), a
        .safetensors file that a run wrote, or a folder of `cvgssl.fit`.
    A GPU is used if there is one. Pictures are decoded as they are needed, so any number of them
    fits in memory. Unreadable ones are an error that names them all; with `skip_corrupt` they are
    left out with a warning each.
    unknown: also give verdicts, by the labelled pictures' features that linear evaluation and
        `fit` keep; about the share `false_rejection_rate` of the pictures of known classes will
        be called unknown.
    encoder: for a folder of `fit`: weights that have been moved since.
    Raises UserError for them, for a missing or damaged model, and for one without such features.
    """
    rate = false_rejection_rate if unknown else None
    if is_fitted(run_or_model):
        _check_one_run(run_or_model, run, checkpoint)
        paths = find_pictures(images)
        recognizer = _fitted(run_or_model, encoder, rate)
    else:
        path = find_model(run_or_model, run, checkpoint)
        if encoder:
            raise UserError(f"--encoder: {path} holds its own weights; leave it out")
        paths = find_pictures(images)
        recognizer = _trained(path, rate)
    with progress("pictures", len(paths)) as advance:
        predictions, unreadable = _recognize(recognizer, paths, batch_size, skip_corrupt, advance)
    check_readable(unreadable, len(paths), skip_corrupt)
    return predictions


def find_model(run_or_model: Path, run: int = 1, checkpoint: str = "last") -> Path:
    """The model file that is meant; raises UserError that says which there are."""
    if run_or_model.is_file():
        return run_or_model
    if not run_or_model.is_dir():
        raise UserError(f"{run_or_model}: no such run folder or model file")
    folder = run_or_model / "weights"
    path = folder / f"run_{run}{'_ema' if checkpoint == 'ema' else ''}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(file.name for file in folder.glob("*.safetensors")))
        hint = f"there are {names} (--run, --checkpoint)" if names else "no run is finished there"
        raise UserError(f"{path}: no such file; {hint}")
    return path


def find_pictures(images: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the pictures in them; each path once.

    Raises UserError for what does not exist and for folders without pictures.
    """
    paths: list[Path] = []
    problems = []
    for image in images:
        inside = list_pictures(image) if image.is_dir() else [image]
        paths += inside
        if not image.exists():
            problems.append(f"{image}: no such file or folder")
        elif not inside:
            problems.append(f"{image}: no pictures in this folder")
    if problems:
        raise UserError("\n".join(problems))
    return list(dict.fromkeys(paths))


class _Recognizing(Protocol):
    """What names pictures.

    geometries: how each becomes squares.
    """

    classes: tuple[str, ...]
    geometries: tuple[Geometry, ...]

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities [B, K] and verdicts [B] of B readable squares for each geometry."""


def _fitted(
    folder: Path, encoder: Sequence[str], false_rejection_rate: float | None
) -> _Recognizing:
    from cvgssl.recognizer.fitted import FittedRecognizer

    return FittedRecognizer(folder, encoder, false_rejection_rate)


def _check_one_run(folder: Path, run: int, checkpoint: str) -> None:
    if run != 1 or checkpoint != "last":
        raise UserError(
            f"{folder}: is of `cvgssl fit`, without --run and --checkpoint; leave them out"
        )


def _trained(path: Path, false_rejection_rate: float | None) -> _Recognizing:
    from cvgssl.recognizer.trained import TrainedRecognizer

    return TrainedRecognizer(path, false_rejection_rate)


def _recognize(
    recognizer: _Recognizing,
    paths: Sequence[Path],
    batch_size: int,
    skip_corrupt: bool,
    advance: Callable[[int], None],
) -> tuple[list[Prediction], dict[Path, str]]:
    """Predictions of the readable pictures, and why the others are not.

    Without `skip_corrupt` the first unreadable picture ends recognition, not the search for more.
    """
    predictions: list[Prediction] = []
    unreadable: dict[Path, str] = {}
    decoded = zip(
        paths,
        *(decode_squares(paths, geometry) for geometry in recognizer.geometries),
        strict=True,
    )
    while batch := list(islice(decoded, batch_size)):
        readable = []
        for path, *squares in batch:
            reasons = [square.reason for square in squares if square.pixels is None]
            if reasons:
                unreadable[path] = reasons[0]
            else:
                readable.append((path, *squares))
        if readable and (skip_corrupt or not unreadable):
            names, *shown = zip(*readable, strict=True)
            answers = zip(names, *recognizer(shown), strict=True)
            predictions += [
                Prediction(name, recognizer.classes, *answer) for name, *answer in answers
            ]
        advance(len(batch))
    return predictions, unreadable


def summary(predictions: Sequence[Prediction]) -> str:
    """How many pictures got which answer, in one line."""
    counts = Counter(prediction.answer for prediction in predictions)
    parts = [f"{label} {count}" for label, count in counts.most_common()]
    noun = "picture" if len(predictions) == 1 else "pictures"
    return f"{len(predictions)} {noun}: {', '.join(parts)}"


def to_csv(predictions: Sequence[Prediction]) -> str:
    """CSV with the columns path, class, probability and the probability of every class.

    With verdicts, the column answer follows path: class, unknown or not sure.
    """
    answer = ["answer"] if predictions[0].verdict is not None else []
    header = ["path", *answer, "class", "probability", *predictions[0].classes]
    rows = []
    for prediction in predictions:
        numbers = [f"{p:.6f}" for p in (prediction.probability, *prediction.probabilities)]
        words = [prediction.answer, prediction.label] if answer else [prediction.label]
        rows.append([path_text(prediction.path), *words, *numbers])
    return csv_text(header, rows)


def to_json(predictions: Sequence[Prediction]) -> str:
    """JSON list of objects with path, class, probability and probabilities (class -> number).

    With verdicts, also answer: class, unknown or not sure.
    """
    objects = []
    for prediction in predictions:
        numbers = [round(float(p), 6) for p in prediction.probabilities]
        answer = {} if prediction.verdict is None else {"answer": prediction.answer}
        objects.append(
            {
                "path": path_text(prediction.path),
                **answer,
                "class": prediction.label,
                "probability": round(prediction.probability, 6),
                "probabilities": dict(zip(prediction.classes, numbers, strict=True)),
            }
        )
    return json.dumps(objects, indent=2, ensure_ascii=False) + "\n"


def path_text(path: Path) -> str:
    r"""The path as valid Unicode; bytes of other encodings in it become \xNN."""
    raw = str(path).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
