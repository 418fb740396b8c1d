"""A fitted recognizer as a folder: what it is (JSON) and the train pictures' embeddings (npz).

Nothing in it is executed. The encoders' weights stay where they are: their place and SHA-256 are
noted. The head is not stored: it is fitted to the embeddings again, which gives the same head.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from cvgssl import __version__
from cvgssl.encoders.encoder_spec import RANDOM
from cvgssl.features.config import EmbedConfig
from cvgssl.features.record import EncoderRecord
from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import read_json, sha256_file, write_json

FORMAT = 1
CARD, TRAIN = "recognizer.json", "train.npz"


@dataclass(frozen=True)
class KeptEncoder:
    """An encoder as it was asked for, and what decides its numbers.

    name: as in `EncoderSpec`. file: where the weights were, absolute; else "" or "random", as in
    `EncoderSpec`.
    """

    name: str
    file: str
    record: EncoderRecord

    @property
    def path(self) -> Path | None:
        """Where the weights were; None for those that were not a named file."""
        return Path(self.file) if self.file not in ("", RANDOM) else None

    @property
    def sha256(self) -> str | None:
        """Of the file of weights; None for random ones."""
        sha256: str | None = self.record.facts["encoder"]["sha256"]
        return sha256


@dataclass(frozen=True)
class Card:
    """What a fitted recognizer is.

    embedding: options of `EmbedConfig`. encoders: in the order of the embeddings.
    head, params: name in `HEADS` and its parameters. preparation: of embeddings.
    classes: names in the order of labels.
    train_sha256: of the file of embeddings. version: of cvgssl that wrote it.
    """

    classes: tuple[str, ...]
    head: str
    params: dict[str, Any]
    preparation: Literal["none", "center", "standardize", "whiten"]
    embedding: dict[str, Any]
    encoders: tuple[KeptEncoder, ...]
    train_sha256: str = ""
    version: str = __version__

    @property
    def records(self) -> list[EncoderRecord]:
        """Of the encoders, in their order."""
        return [one.record for one in self.encoders]

    def options(self, **changes: Any) -> EmbedConfig:
        """How pictures are embedded, but for `changes`; its `data` says nothing."""
        return EmbedConfig(data=Path(), **self.embedding | changes)


def is_fitted(folder: Path) -> bool:
    """Whether `folder` is a recognizer of `cvgssl fit`."""
    return (folder / CARD).is_file()


def save_recognizer(folder: Path, card: Card, train: FeatureTable) -> None:
    """Write both files; values float32 [N, D] as the encoders give them, labels -1 or a class."""
    save_features(train, folder / TRAIN)
    described = asdict(card) | {"train_sha256": sha256_file(folder / TRAIN)}
    write_json(folder / CARD, {"format": FORMAT} | described)


def load_recognizer(folder: Path) -> tuple[Card, FeatureTable]:
    """Read both files, checked against the hash; raises UserError naming what is wrong."""
    card, path = _read_card(folder / CARD), folder / TRAIN
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy the whole folder")
    if sha256_file(path) != card.train_sha256:
        raise UserError(f"{path}: is not the file that {CARD} describes; copy both again")
    train = load_features(path)
    if train.classes != card.classes or train.values.shape[1] != sum(p.width for p in card.records):
        raise UserError(f"{folder}: {CARD} and {TRAIN} do not belong together; copy both again")
    return card, train


def _read_card(path: Path) -> Card:
    try:
        value = read_json(path)
        number = value.pop("format")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, or not of `cvgssl fit`; copy it again") from error
    if number != FORMAT:
        raise UserError(
            f"{path}: has format {number}, this version of cvgssl reads {FORMAT}; use the version "
            "that wrote it"
        )
    try:
        return pydantic.TypeAdapter(Card).validate_python(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}: is wrong at {place}: {problem['msg']}") from error
