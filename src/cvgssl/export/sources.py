"""What `cvgssl export` takes: folders of `cvgssl fit`, and models that were trained.

Shape letters: B pictures, D numbers of an embedding, K classes, L labelled pictures.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cvgssl.export.config import ExportConfig
from cvgssl.export.heads import HeadPart
from cvgssl.export.onnx_graph import RecognizerGraph, TrainedGraph
from cvgssl.export.taught import TaughtRecognizer, taught_part, why_taught
from cvgssl.features.table import UNLABELLED
from cvgssl.heads import OpenSetHead
from cvgssl.images.decoding import Square
from cvgssl.images.names import text_form
from cvgssl.recognizer.card import load_recognizer, picture_places
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import find_model, is_fitted
from cvgssl.recognizer.fit import LABELS
from cvgssl.recognizer.fitted import load_fitted
from cvgssl.recognizer.predict import Recognizing
from cvgssl.recognizer.trained import load_trained
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file


class ExportSource(Protocol):
    """A recognizer that can be exported.

    bit_depth: of 16-bit files. pool: train pictures that are still where they were. labelled:
    where those with a label were.
    about: of the file's metadata, JSON values.
    """

    bit_depth: int
    pool: list[Path]
    labelled: list[Path]
    about: dict[str, Any]

    @property
    def recognizer(self) -> Recognizing:
        """What the file's answers are held against: what `cvgssl predict` asks, as a rule."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the graph gives."""

    def measures(self, squares: Sequence[Sequence[Square]]) -> dict[str, NDArray[Any]]:
        """Further outputs for B pictures by name, [B, ...]: embedding, and score where it has one.

        squares: B readable ones for each of the recognizer's geometries.
        """

    def graph(self) -> nn.Module:
        """The network from picture to answer, on the CPU."""


def open_source(config: ExportConfig) -> ExportSource:
    """The recognizer that is to be exported; raises UserError where it cannot be."""
    if is_fitted(config.recognizer):
        if config.draw != 1 or config.checkpoint != "last":
            raise UserError(
                f"{config.recognizer}: is of `cvgssl fit`, without --draw and --checkpoint; leave "
                "them out"
            )
        return FittedSource(config)
    if config.encoder_files:
        raise UserError(
            f"--encoder-files: {config.recognizer} is no folder of `cvgssl fit` and holds its own "
            "weights; leave it out"
        )
    if config.int8:
        raise UserError(
            f"--int8: {config.recognizer} is no folder of `cvgssl fit`, which knows the pictures "
            "that it needs; leave it out"
        )
    return TrainedSource(config)


def predict_options(config: ExportConfig, verdicts: bool) -> PredictOptions:
    """How `cvgssl predict` would be asked; pictures that cannot be read are left out."""
    return PredictOptions(
        recognizer=config.recognizer,
        pictures=(config.recognizer,),
        draw=config.draw,
        checkpoint=config.checkpoint,
        encoder_files=config.encoder_files,
        unknown=verdicts,
        skip_corrupt=True,
        batch_size=16,
        runtime="torch",
    )


class FittedSource:
    """A folder of `cvgssl fit`; see `ExportSource`."""

    outputs = ("probabilities", "embedding", "score", "nearest", "similarity")

    def __init__(self, config: ExportConfig) -> None:
        folder = config.recognizer
        card, kept = load_recognizer(folder)
        train = kept.train
        precision = card.options().precision
        if precision != "fp32":
            raise UserError(
                f"{folder}: was fitted in {precision}, files are in fp32; fit again with "
                "--precision fp32"
            )
        self._fitted = load_fitted(predict_options(config, verdicts=True))
        self.bit_depth = card.options().bit_depth
        places = picture_places(train, card.elsewhere)
        self.pool = [path for path in places if path.is_file()]
        labelled = train.labels != UNLABELLED
        self._labelled = train.take(np.flatnonzero(labelled))
        self.labelled = [places[row] for row in np.flatnonzero(labelled)]
        labels = folder / LABELS
        self.about = {
            "unknown_below": self._head.score_threshold_,
            "not_sure_below": self._head.probability_threshold_,
            "labelled": [
                [text_form(name), card.classes[label]]
                for name, label in zip(self._labelled.names, self._labelled.labels, strict=True)
            ],
            "head": card.head,
            "options": card.embedding | {"preparation": card.preparation, "params": card.params},
            "hashes": {
                "weights": [encoder.sha256 for encoder in card.encoders],
                "train": card.train_sha256,
            }
            | ({"labels": sha256_file(labels)} if labels.is_file() else {})
            | ({"texts": card.texts_sha256} if card.texts_sha256 is not None else {}),
        }
        self.recognizer: Recognizing = self._fitted
        if why_taught(self._head.head_.head_):
            rows = self._fitted.head.preparation.transform(train.values)
            self._part, teaching = taught_part(card.head, self._head, rows, labelled)
            self.recognizer = TaughtRecognizer(self._fitted, self._part)
            self.about["taught"] = asdict(teaching)
        else:
            self._part = HeadPart.of(self._head)

    @property
    def _head(self) -> OpenSetHead:
        head = self._fitted.head.head
        assert isinstance(head, OpenSetHead)
        return head

    def measures(self, squares: Sequence[Sequence[Square]]) -> dict[str, NDArray[Any]]:
        """See `ExportSource`."""
        values = self._fitted.embed(squares)
        prepared = self._fitted.head.preparation.transform(values)
        return {"embedding": values, "score": self._head.score_samples(prepared)}

    def graph(self) -> nn.Module:
        """See `ExportSource`."""
        for run in self._fitted.runs:
            run.cpu()
        labelled = self._fitted.head.preparation.transform(self._labelled.values)
        return RecognizerGraph(self._fitted, self._part, torch.from_numpy(labelled))


class TrainedSource:
    """A run of `linear` or `finetune`, or one of its model files; see `ExportSource`."""

    outputs = ("probabilities", "embedding")

    def __init__(self, config: ExportConfig) -> None:
        file = find_model(config.recognizer, config.draw, config.checkpoint)
        self.recognizer = load_trained(file, predict_options(config, verdicts=False))
        (geometry,) = self.recognizer.geometries
        self.bit_depth = geometry.bit_depth
        self.pool: list[Path] = []  # a model file names no pictures
        self.labelled: list[Path] = []
        self.about = {
            "head": "trained",
            "options": {"arch": self.recognizer.model.backbone.arch} | vars(geometry),
            "hashes": {"weights": [sha256_file(file)]},
        }

    def measures(self, squares: Sequence[Sequence[Square]]) -> dict[str, NDArray[Any]]:
        """See `ExportSource`."""
        return {"embedding": self.recognizer.features(squares)}

    def graph(self) -> nn.Module:
        """See `ExportSource`."""
        return TrainedGraph(self.recognizer)
