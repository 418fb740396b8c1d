"""Pictures named by a model file of `cvgssl finetune` or `cvgssl linear`.

Shapes: B pictures, C channels (1 or 3), S side in pixels, D features, K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cvgssl.adapt.model_file import SavedModel, Support, read_model
from cvgssl.adapt.network import Recognizer
from cvgssl.heads.open_set import KNOWN, NOT_SURE, OpenSetHead
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch


class OpenSetCheck:
    """Compares pictures with the labelled ones that a linear classifier was trained on.

    A picture is "unknown" or "not sure" by `OpenSetHead`, which is fitted to their features,
    centred by their mean (inductive), and also "not sure" when that head would name another class
    than the recognizer.
    """

    def __init__(self, support: Support, false_rejection_rate: float) -> None:
        features = support.features.double().numpy()
        self.centre = features.mean(axis=0)
        self.head = OpenSetHead(false_rejection_rate=false_rejection_rate)
        self.head.fit(features - self.centre, support.labels.numpy())

    def __call__(
        self, features: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> NDArray[np.str_]:
        """ "known", "unknown" or "not sure" [B] for features [B, D] that got classes [B]."""
        rows = features - self.centre
        verdicts = self.head.verdicts(rows)
        disputed = (verdicts == KNOWN) & (self.head.predict(rows) != labels)
        return np.where(disputed, NOT_SURE, verdicts)


class TrainedRecognizer:
    """Squares of pixels to probabilities, on a GPU if there is one.

    classes: K names. geometries: the one way in which pictures become squares.
    false_rejection_rate: of `OpenSetHead`; None gives no verdicts.
    """

    def __init__(self, path: Path, false_rejection_rate: float | None = None) -> None:
        saved = read_model(path)
        self._check = (
            None if false_rejection_rate is None else _open_set_check(saved, false_rejection_rate)
        )
        self._model = saved.recognizer(launch().device)
        self.classes = saved.card.classes
        self.geometries: tuple[Geometry, ...] = (saved.card.geometry,)

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones, in a list of one.
        """
        (shown,) = squares
        pixels = [square.pixels for square in shown if square.pixels is not None]
        features, rows = _forward(self._model, pixels)
        verdicts: list[str | None] = [None] * len(rows)
        if self._check is not None:
            verdicts = [str(verdict) for verdict in self._check(features, rows.argmax(axis=1))]
        return rows, verdicts


def _open_set_check(saved: SavedModel, false_rejection_rate: float) -> OpenSetCheck:
    if saved.support is None:
        raise UserError(
            f"{saved.path}: keeps no labelled pictures to compare with; --unknown needs a run of "
            "`cvgssl linear` or `cvgssl fit` (fine-tuning moves the features, so its pictures are "
            "no measure)"
        )
    return OpenSetCheck(saved.support, false_rejection_rate)


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
