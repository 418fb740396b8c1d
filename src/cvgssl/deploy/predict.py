"""From pictures to class names and probabilities, with the preprocessing kept in the model file.

Shapes: B pictures, C channels (1 or 3), S side in pixels, K classes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cvgssl.fewshot.model_file import ModelCard, load_model, load_support
from cvgssl.fewshot.recognizer import Recognizer
from cvgssl.images.decoding import decode_squares
from cvgssl.images.scan import list_pictures
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

if TYPE_CHECKING:
    from cvgssl.deploy.refusing import Refusal

log = logging.getLogger(__name__)


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
    weights: Literal["final", "ema"] = "final",
    batch_size: int = 64,
    skip_corrupt: bool = False,
    unknown: bool = False,
    refused: float = 0.1,
) -> list[Prediction]:
    """Recognize picture files, and all pictures in folders, in the order given.

    run_or_model: a run folder (the last or averaged weights of its run `run`, from 1) or a
        .safetensors file that a run wrote.
    A GPU is used if there is one. Pictures are decoded as they are needed, so any number of them
    fits in memory. Unreadable ones are an error that names them all; with `skip_corrupt` they are
    left out with a warning each.
    unknown: also give verdicts, by the labelled pictures' features that linear evaluation keeps;
        about the share `refused` of the pictures of known classes will be called unknown.
    Raises UserError for them, for a missing or damaged model, and for one without such features.
    """
    path = find_model(run_or_model, run, weights)
    paths = find_pictures(images)
    refusal = _refusal(path, refused) if unknown else None
    model, card = load_model(path, "cuda" if torch.cuda.is_available() else "cpu")
    recognizer = _Recognizing(model, card, refusal)
    with progress("pictures", len(paths)) as advance:
        predictions, unreadable = _recognize(recognizer, paths, batch_size, skip_corrupt, advance)
    if unreadable and not skip_corrupt:
        lines = [f"{path}: {reason}" for path, reason in unreadable.items()]
        lines.append(f"{len(lines)} unreadable; mend them, or go on without by --skip-corrupt")
        raise UserError("\n".join(lines))
    if not predictions:
        raise UserError(f"none of the {len(paths)} pictures is readable")
    for path, reason in unreadable.items():
        log.warning("%s: %s; left out", path, reason)
    return predictions


def find_model(run_or_model: Path, run: int = 1, weights: str = "final") -> Path:
    """The model file that is meant; raises UserError that says which there are."""
    if run_or_model.is_file():
        return run_or_model
    if not run_or_model.is_dir():
        raise UserError(f"{run_or_model}: no such run folder or model file")
    folder = run_or_model / "weights"
    path = folder / f"run_{run}{'_ema' if weights == 'ema' else ''}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in folder.glob("*.safetensors")))
        found = f"there are {there} (--run, --weights)" if there else "no run is finished there"
        raise UserError(f"{path}: no such file; {found}")
    return path


def find_pictures(images: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the pictures in them; each path once.

    Raises UserError for what does not exist and for folders without pictures.
    """
    found: list[Path] = []
    problems = []
    for image in images:
        inside = list_pictures(image) if image.is_dir() else [image]
        found += inside
        if not image.exists():
            problems.append(f"{image}: no such file or folder")
        elif not inside:
            problems.append(f"{image}: no pictures in this folder")
    if problems:
        raise UserError("\n".join(problems))
    return list(dict.fromkeys(found))


def _refusal(path: Path, refused: float) -> "Refusal":
    from cvgssl.deploy.refusing import Refusal

    support = load_support(path)
    if support is None:
        raise UserError(
            f"{path}: keeps no labelled pictures to compare with; --unknown needs a run of "
            "`cvgssl linear` (fine-tuning moves the features, so its pictures are no measure)"
        )
    return Refusal(support, refused)


@dataclass(frozen=True)
class _Recognizing:
    """A model, how it wants its pictures, and what may refuse its answers."""

    model: Recognizer
    card: ModelCard
    refusal: "Refusal | None"

    def __call__(
        self, paths: Sequence[Path], squares: Sequence[NDArray[np.uint8]]
    ) -> list[Prediction]:
        """Predictions of B decoded pictures, uint8 [C, S, S] each."""
        features, rows = _forward(self.model, squares)
        verdicts: list[str | None] = [None] * len(rows)
        if self.refusal is not None:
            verdicts = [str(one) for one in self.refusal(features, rows.argmax(axis=1))]
        return [
            Prediction(path, self.card.classes, row, verdict)
            for path, row, verdict in zip(paths, rows, verdicts, strict=True)
        ]


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
    decoded = zip(paths, decode_squares(paths, recognizer.card.geometry), strict=True)
    while batch := list(islice(decoded, batch_size)):
        readable = [(path, square.pixels) for path, square in batch if square.pixels is not None]
        unreadable |= {path: square.reason for path, square in batch if square.pixels is None}
        if readable and (skip_corrupt or not unreadable):
            names, pixels = zip(*readable, strict=True)
            predictions += recognizer(names, pixels)
        advance(len(batch))
    return predictions, unreadable


@torch.inference_mode()
def _forward(
    model: Recognizer, squares: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features [B, D] and probabilities [B, K], float32, of B squares uint8 [C, S, S].

    Gray squares become colour beside coloured ones.
    """
    channels = max(len(square) for square in squares)
    shape = (channels, *squares[0].shape[1:])
    pixels = np.stack([np.broadcast_to(square, shape) for square in squares])
    features = model.backbone(torch.from_numpy(pixels).to(model.head.weight.device))
    rows = model.head(features).float().softmax(dim=1)
    return features.float().cpu().numpy(), rows.cpu().numpy()
