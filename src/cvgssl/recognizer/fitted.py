"""Pictures classified by a recognizer of `cvgssl fit`: encoders found, the head refitted.

Where the encoders were compiled before, torch is not imported, which takes longer than the rest.

Shape letters: B pictures, D numbers of all encoders together, K classes.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.programs import TORCH, chosen_program, has_gpu
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.known_encoder import KnownEncoder, known_encoder
from cvgssl.features.record import recorded
from cvgssl.features.table import UNLABELLED
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.card import KeptEmbeddings, KeptEncoder, RecognizerCard, load_recognizer
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.kept_encoders import check_same, find_encoders
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.put_off import put_off

if TYPE_CHECKING:
    from cvgssl.features.encoder import Encoder, JointEncoder
    from cvgssl.recognizer.built_encoders import BuiltEncoders
    from cvgssl.recognizer.head import FittedHead

log = logging.getLogger(__name__)

# half a second, for functions that scikit-learn takes and that are not used here
_SLOW = {"scipy.stats": ("chi2", "gmean", "rankdata", "spearmanr")}


class Embedding(Protocol):
    """Squares of pixels to embeddings."""

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How each picture becomes squares, one for each that differs."""

    def __call__(self, squares: Sequence[Sequence[Square]], /) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of the encoders side by side; squares: for `geometries`."""


@dataclass(frozen=True)
class KnownEncoders:
    """Encoders that were compiled before; see `Embedding`."""

    encoders: tuple[KnownEncoder, ...]

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """See `Embedding`."""
        return tuple(dict.fromkeys(encoder.record.geometry for encoder in self.encoders))

    def __call__(self, squares: Sequence[Sequence[Square]], /) -> NDArray[np.float32]:
        """See `Embedding`."""
        shown = dict(zip(self.geometries, squares, strict=True))
        values = [encoder(shown[encoder.record.geometry])[0] for encoder in self.encoders]
        return np.concatenate(values, axis=1)


@dataclass(frozen=True)
class FittedRecognizer:
    """Squares of pixels to probabilities.

    classes: K names. embedding: of the encoders. head: fitted.
    """

    classes: tuple[str, ...]
    embedding: Embedding
    head: "FittedHead"

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How each picture becomes squares, one for each that differs."""
        return self.embedding.geometries

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] and verdicts [B] of B pictures.

        squares: B readable ones for each of `geometries`.
        """
        return self.answer(squares, self.embed(squares))

    def answer(
        self,
        squares: Sequence[Sequence[Square]],  # noqa: ARG002 - for those that look at them, too
        embeddings: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """The same of their embeddings [B, D]."""
        probabilities, verdicts = self.head(embeddings)
        return probabilities.astype(np.float32), verdicts

    def embed(self, squares: Sequence[Sequence[Square]]) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of the encoders side by side, of the same squares."""
        return self.embedding(squares)

    @property
    def encoders(self) -> "tuple[Encoder, ...]":
        """The encoders in torch, in the order of the head's embeddings, where torch runs them."""
        return self._built.encoders

    @property
    def runs(self) -> "tuple[JointEncoder, ...]":
        """The same on their device, together where one run of a network is enough."""
        return self._built.runs

    @property
    def _built(self) -> "BuiltEncoders":
        assert not isinstance(self.embedding, KnownEncoders), "with the runtime torch"
        return cast("BuiltEncoders", self.embedding)


def load_fitted(options: PredictOptions) -> FittedRecognizer:
    """The recognizer of a folder of `cvgssl fit`, its head fitted again.

    Raises UserError when the folder is damaged, and when an encoder's file is gone or changed.
    """
    with put_off(_SLOW):
        from cvgssl.recognizer.head import FittedHead
    folder = options.recognizer
    card, kept = load_recognizer(folder)
    embedding = load_embedding(card, options)
    _announce(folder, card, kept)
    head = FittedHead(kept, card, options.rate)
    return FittedRecognizer(card.classes, embedding, head)


def load_embedding(card: RecognizerCard, options: PredictOptions) -> Embedding:
    """The encoders of the recognizer in the folder `options.recognizer`, which has this card.

    Raises UserError when an encoder's file is gone or changed.
    """
    folder, embed = options.recognizer, card.options(runtime=options.runtime)
    if embed.precision == "fp16" and not has_gpu():
        log.warning("%s: fitted in fp16, which needs a GPU; fp32 is used", folder)
        embed = card.options(runtime=options.runtime, precision="fp32")
    requests = find_encoders(folder, card.encoders, options.encoder_files, embed)
    if options.gpu is None:
        known = _known(card.encoders, requests)
        if known is not None:
            return known
    from cvgssl.recognizer.built_encoders import build_encoders

    return build_encoders(card.encoders, requests, options.gpu)


def _known(
    encoders: Sequence[KeptEncoder], requests: Sequence[EncoderRequest]
) -> KnownEncoders | None:
    """The encoders, if an earlier call had them compiled."""
    compiled = list[KnownEncoder]()
    for kept, request in zip(encoders, requests, strict=True):
        config = request.config
        if chosen_program(config.runtime, config.precision) == TORCH:
            return None
        record = recorded(request, default_cache_dir())
        if record is None:
            return None
        known = known_encoder(request, record)
        if known is None:
            return None
        check_same(request.flag, kept.record, record)
        compiled.append(known)
    return KnownEncoders(tuple(compiled))


def _announce(folder: Path, card: RecognizerCard, kept: KeptEmbeddings) -> None:
    labelled = int((kept.train.labels != UNLABELLED).sum())
    print(
        f"{folder}: {card.head} is fitted again to {labelled} labelled and "
        f"{len(kept.train) - labelled} unlabelled pictures (about a second for a thousand)",
        file=sys.stderr,
        flush=True,
    )
