"""Pictures named by a model file of `cvgssl finetune` or `cvgssl linear`.

Shapes: B pictures, C channels (1 or 3), S side in pixels, D features, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cvgssl.adapt.model_file import SavedModel, Support, read_model
from cvgssl.adapt.network import Recognizer
from cvgssl.encoders.network_run import Run
from cvgssl.encoders.runs import Runs
from cvgssl.features.reading import stacked
from cvgssl.heads.verdicts import KNOWN, NOT_SURE
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.config import PredictOptions
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch


class OpenSetCheck:
    """Compares pictures with the labelled ones that a linear classifier was trained on.

    A picture is "unknown" or "not sure" by `OpenSetHead`, which is fitted to their features,
    centred by their mean (inductive), and also "not sure" when that head would name another class
    than the recognizer.
    """

    def __init__(self, support: Support, false_rejection_rate: float) -> None:
        from cvgssl.heads.open_set import OpenSetHead  # by way of scikit-learn, slow to import

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


@dataclass(frozen=True)
class TrainedRecognizer:
    """Squares of pixels to probabilities.

    classes: K names. geometries: the one way in which pictures become squares.
    model: on its device, in eval mode. run: of its backbone. check: gives verdicts; None for none.
    """

    classes: tuple[str, ...]
    geometries: tuple[Geometry, ...]
    model: Recognizer
    run: Run
    check: OpenSetCheck | None

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones, in a list of one.
        """
        (shown,) = squares
        features, rows = self._forward(stacked(shown))
        verdicts: list[str | None] = [None] * len(rows)
        if self.check is not None:
            verdicts = [str(verdict) for verdict in self.check(features, rows.argmax(axis=1))]
        return rows, verdicts

    def features(self, squares: Sequence[Sequence[Square]]) -> NDArray[np.float32]:
        """Features float32 [B, D] of the same squares."""
        (shown,) = squares
        return self._forward(stacked(shown))[0]

    @torch.inference_mode()
    def _forward(
        self, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features [B, D] and probabilities [B, K], float32, of uint8 [B, C, S, S]."""
        head = self.model.head
        features, _ = self.run(torch.from_numpy(pixels).to(head.weight.device))
        assert features is not None
        rows = head(features).float().softmax(dim=1)
        return features.float().cpu().numpy(), rows.cpu().numpy()


def load_trained(path: Path, options: PredictOptions) -> TrainedRecognizer:
    """The recognizer of a model file, on a GPU if there is one; raises UserError."""
    saved = read_model(path)
    check = None if options.rate is None else _open_set_check(saved, options.rate)
    model = saved.recognizer(launch(options.gpu).device)
    run = Runs(model.backbone, str(path)).make(runtime=options.runtime)
    return TrainedRecognizer(saved.card.classes, (saved.card.geometry,), model, run, check)


def _open_set_check(saved: SavedModel, false_rejection_rate: float) -> OpenSetCheck:
    if saved.support is None:
        raise UserError(
            f"{saved.path}: keeps no labelled pictures to compare with; --unknown needs a run of "
            "`cvgssl linear` or `cvgssl fit` (fine-tuning moves the features, so its pictures are "
            "no measure)"
        )
    return OpenSetCheck(saved.support, false_rejection_rate)
