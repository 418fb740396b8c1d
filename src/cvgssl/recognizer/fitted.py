"""Pictures named by a recognizer of `cvgssl fit`: encoders found and checked, the head refitted.

Shape letters: B pictures, K classes.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.encoders.shards import weights_digest
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.features.compute import embed_squares
from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder import Encoder, JointEncoder, Networks, joined
from cvgssl.features.encoder_requests import request_of, weight_file
from cvgssl.features.record import EncoderRecord
from cvgssl.features.table import UNLABELLED
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.card import KeptEncoder, load_recognizer
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import CARD
from cvgssl.recognizer.head import FittedHead
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import launch

log = logging.getLogger(__name__)

_EQUAL_ENOUGH = {"precision", "runtime"}  # facts that may differ from those of fitting


@dataclass(frozen=True)
class FittedRecognizer:
    """Squares of pixels to probabilities.

    classes: K names. encoders: in the order of the head's embeddings.
    runs: the same on their device, together where one run of a network is enough.
    """

    classes: tuple[str, ...]
    encoders: tuple[Encoder, ...]
    runs: tuple[JointEncoder, ...]
    head: FittedHead
    accelerator: Accelerator

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How each picture becomes squares, one for each that differs."""
        return tuple(dict.fromkeys(encoder.geometry for encoder in self.encoders))

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones for each of `geometries`.
        """
        probabilities, verdicts = self.head(self.embed(squares))
        return probabilities.astype(np.float32), verdicts

    def embed(self, squares: Sequence[Sequence[Square]]) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of the encoders side by side, of the same squares."""
        shown = dict(zip(self.geometries, squares, strict=True))
        values: dict[Encoder, NDArray[np.float32]] = {}
        for run in self.runs:
            rows = embed_squares(run, shown[run.geometry], self.accelerator)
            values |= zip(run.members, rows, strict=True)
        return np.concatenate([values[encoder] for encoder in self.encoders], axis=1)


def load_fitted(options: PredictOptions) -> FittedRecognizer:
    """The recognizer of a folder of `cvgssl fit`, its head fitted again.

    Raises UserError when the folder is damaged, and when an encoder's file is gone or changed.
    """
    folder = options.model
    card, kept = load_recognizer(folder)
    places = _find_all(folder, card.encoders, options.encoder)
    embedding = card.options(runtime=options.runtime)
    if embedding.precision == "fp16" and not torch.cuda.is_available():
        log.warning("%s: fitted in fp16, which needs a GPU; fp32 is used", folder)
        embedding = card.options(runtime=options.runtime, precision="fp32")
    accelerator = launch(options.gpu, embedding.precision)
    networks = Networks()
    encoders = tuple(
        _load(networks, folder, encoder, place, embedding)
        for encoder, place in zip(card.encoders, places, strict=True)
    )
    runs = tuple(run.to(accelerator.device) for run in joined(encoders))
    labelled = int((kept.train.labels != UNLABELLED).sum())
    print(
        f"{folder}: {card.head} is fitted again to {labelled} labelled and "
        f"{len(kept.train) - labelled} unlabelled pictures (about a second for a thousand)",
        file=sys.stderr,
        flush=True,
    )
    head = FittedHead(kept, card, options.rate)
    return FittedRecognizer(card.classes, encoders, runs, head, accelerator)


def _find_all(
    folder: Path, encoders: Sequence[KeptEncoder], files: Sequence[str]
) -> list[Path | None]:
    """Where the encoders' weights are; None for those that are not a file."""
    wanted = {kept.sha256: kept.record.name for kept in encoders if kept.path is not None}
    moved = dict[str | None, Path]()
    for name in files:
        path = weight_file(name, f"--encoder {name}")
        digest = weights_digest(path)
        if digest not in wanted:
            names = ", ".join(f"{name} (sha256 {str(sha)[:8]})" for sha, name in wanted.items())
            raise UserError(
                f"--encoder {name}: has sha256 {digest[:8]}; {folder} was fitted with "
                f"{names or 'an encoder that needs no file'}"
            )
        moved[digest] = path
    return [
        None if kept.path is None else moved.get(kept.sha256) or _find(folder, kept)
        for kept in encoders
    ]


def _find(folder: Path, encoder: KeptEncoder) -> Path:
    """The file where it was, in the recognizer's folder, or among the weights."""
    path = encoder.path
    assert path is not None
    remedy = f"name its place by --encoder FILE, or put it into {folder} or {weights_folder()}"
    places = [
        place
        for place in (path, folder / path.name, weights_folder() / path.name)
        if place.is_file()
    ]
    if not places:
        raise UserError(
            f"{folder}: the weights of {encoder.record.name}, {path}, are gone; {remedy}"
        )
    same = [place for place in places if weights_digest(place) == encoder.sha256]
    if not same:
        raise UserError(
            f"{places[0]}: has changed since {folder} was fitted (sha256 was "
            f"{str(encoder.sha256)[:8]}); fit again, or if you have the old file, {remedy}"
        )
    return same[0]


def _load(
    networks: Networks, folder: Path, kept: KeptEncoder, place: Path | None, options: EmbedConfig
) -> Encoder:
    flag = f"{folder}: encoder {kept.record.name}"
    spec = kept.spec if place is None else replace(kept.spec, file=str(place))
    encoder = networks.load(request_of(spec, place, flag, options))
    _check_same(flag, kept.record, encoder.record())
    return encoder


def _check_same(flag: str, before: EncoderRecord, now: EncoderRecord) -> None:
    """Raise UserError when the encoder would give other numbers; a warning for other readers."""
    old, new = _plain(before.facts), _plain(now.facts)
    same = {name for name in old if old[name] == new.get(name)}
    changed = [name for name in old if name not in same | _EQUAL_ENOUGH]
    if "reader" in changed:
        changed.remove("reader")
        log.warning("%s: pictures are read by other versions than when it was fitted", flag)
    if changed:
        raise UserError(
            f"{flag}: gives other numbers than when it was fitted ({', '.join(changed)}); fit "
            f"again ({CARD} says with what)"
        )


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain
