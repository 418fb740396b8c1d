"""Pictures classified by a model file of `cvgssl finetune` or `cvgssl linear`.

Where the backbone was compiled before, torch is not imported, which takes longer than the rest.

Shapes: B pictures, C channels (1 or 3), S side in pixels, D features, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cvgssl.adapt.model_file import SavedModel, Support, read_model
from cvgssl.encoders.compiled_network import known_network
from cvgssl.features.reading import stacked
from cvgssl.heads.verdicts import KNOWN, NOT_SURE
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.config import PredictOptions
from cvgssl.runtime.errors import UserError

if TYPE_CHECKING:
    from cvgssl.adapt.network import Recognizer

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Uint8 [B, C, S, S] to features float32 [B, D]."""


class OpenSetCheck:
    """Compares pictures with the labelled ones that a linear classifier was trained on.

    A picture is "unknown" or "not sure" by `OpenSetHead`, which is fitted to their features,
    centred by their mean (inductive), and also "not sure" when that head would name another class
    than the recognizer.
    """

    def __init__(self, support: Support, false_rejection_rate: float) -> None:
        from cvgssl.heads.open_set import OpenSetHead  # by way of scikit-learn, slow to import

        features = support.features.astype(np.float64)
        self.centre = features.mean(axis=0)
        self.head = OpenSetHead(false_rejection_rate=false_rejection_rate)
        self.head.fit(features - self.centre, support.labels)

    def __call__(
        self, features: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> NDArray[np.str_]:
        """ "known", "unknown" or "not sure" [B] for features [B, D] that got classes [B]."""
        rows = features - self.centre
        probabilities, verdicts = self.head.judge(rows)
        predicted = self.head.classes_[probabilities.argmax(axis=1)]
        disputed = (verdicts == KNOWN) & (predicted != labels)
        return np.where(disputed, NOT_SURE, verdicts)


@dataclass(frozen=True)
class TrainedRecognizer:
    """Squares of pixels to probabilities.

    classes: K names. geometries: the one way in which pictures become squares.
    network: the backbone. weight, bias: of the head, float32 [K, D] and [K].
    check: gives verdicts; None for none.
    built: the whole network, in eval mode; None where the backbone was compiled before.
    """

    classes: tuple[str, ...]
    geometries: tuple[Geometry, ...]
    network: Network
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    check: OpenSetCheck | None
    built: "Recognizer | None"

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones, in a list of one.
        """
        features = self.features(squares)
        logits = features @ self.weight.T + self.bias
        # by hand: scipy.special, which nothing else here needs, would take 0.1 s to import
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
        verdicts: list[str | None] = [None] * len(rows)
        if self.check is not None:
            verdicts = [str(verdict) for verdict in self.check(features, rows.argmax(axis=1))]
        return rows, verdicts

    def features(self, squares: Sequence[Sequence[Square]]) -> NDArray[np.float32]:
        """Features float32 [B, D] of the same squares."""
        (shown,) = squares
        return self.network(stacked(shown))

    @property
    def model(self) -> "Recognizer":
        """The network in torch, where torch runs it."""
        assert self.built is not None, "with the runtime torch"
        return self.built


def load_trained(path: Path, options: PredictOptions) -> TrainedRecognizer:
    """The recognizer of a model file, on a GPU if there is one; raises UserError."""
    saved = read_model(path)
    check = None if options.rate is None else _open_set_check(saved, options.rate)
    network, built = _known(saved, options), None
    if network is None:
        network, built = _built(saved, options)
    return TrainedRecognizer(
        saved.card.classes,
        (saved.card.geometry,),
        network,
        saved.weights["head.weight"],
        saved.weights["head.bias"],
        check,
        built,
    )


def _known(saved: SavedModel, options: PredictOptions) -> Network | None:
    """The backbone, if an earlier call had it compiled."""
    known = None if options.gpu is not None else known_network(_name(saved), options.runtime)
    return None if known is None else lambda pixels: known(pixels)[0]


def _built(saved: SavedModel, options: PredictOptions) -> "tuple[Network, Recognizer]":
    import torch

    from cvgssl.encoders.compiled_run import CompiledRun
    from cvgssl.encoders.runs import Runs
    from cvgssl.runtime.launch import launch

    device = launch(options.gpu).device
    model = saved.recognizer(device)
    run = Runs(model.backbone, str(saved.path)).make(runtime=options.runtime)
    if isinstance(run, CompiledRun):
        run.remember(_name(saved))

    def network(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output, _ = run(torch.from_numpy(pixels).to(device))
        assert output is not None
        return output.float().cpu().numpy()

    return network, model


def _name(saved: SavedModel) -> str:
    return f"trained {saved.sha256}"


def _open_set_check(saved: SavedModel, false_rejection_rate: float) -> OpenSetCheck:
    if saved.support is None:
        raise UserError(
            f"{saved.path}: keeps no labelled pictures to compare with; --unknown needs a run of "
            "`cvgssl linear` or `cvgssl fit` (fine-tuning moves the features, so its pictures are "
            "no measure)"
        )
    return OpenSetCheck(saved.support, false_rejection_rate)
