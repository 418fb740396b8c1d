"""A fitted recognizer as a folder: what it is (JSON) and its train pictures' embeddings (npz).

Heads that know what the classes are called also have these texts' embeddings (npz).

Nothing in it is executed. The encoders' weights stay where they are: their place and SHA-256 are
noted. The head is not stored: it is fitted to the embeddings again, which gives the same head.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, ConfigDict, Field

from cvgssl import __version__
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.weights_card import MOST_PIXELS
from cvgssl.features.class_texts import head_options
from cvgssl.features.config import EmbedConfig
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.features.record import EncoderRecord
from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.heads import ALL_HEADS, TEXT_HEADS, own_parameters
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.finding import CARD
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.files import sha256_file, write_json
from cvgssl.runtime.options import OneOf, explain, make
from cvgssl.runtime.parsing import one_line, parse_json
from cvgssl.runtime.yaml_files import is_text

FORMAT = 5
TRAIN, MIRRORED, TEXTS = "train.npz", "mirrored.npz", "texts.npz"


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class _Encoder:
    """What is used of `EncoderRecord.facts["encoder"]`."""

    dim: Annotated[int, Field(ge=1)]
    sha256: str | None


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class _UsedFacts:
    """What is used of `EncoderRecord.facts`."""

    encoder: _Encoder
    geometry: Geometry


def _checked_record(record: EncoderRecord) -> EncoderRecord:
    try:
        facts = pydantic.TypeAdapter(_UsedFacts).validate_python(record.facts)
    except pydantic.ValidationError as error:
        raise ValueError(f"facts.{_first(error)}") from None
    if not 1 <= facts.geometry.size <= MOST_PIXELS:
        raise ValueError(f"pictures of {facts.geometry.size} px; at most {MOST_PIXELS} are read")
    if not (math.isfinite(record.weight) and record.weight > 0):
        raise ValueError("a weight must be a number above 0")
    if any(width < 1 for width in record.widths):
        raise ValueError("widths must be above 0")
    return record


def _checked_embedding(options: dict[str, Any]) -> dict[str, Any]:
    try:
        make(EmbedConfig, options | {"data": Path()})
    except pydantic.ValidationError as error:
        raise ValueError("; ".join(explain(error))) from None
    return options


def _checked_spec(spec: EncoderSpec) -> EncoderSpec:
    if not is_text(spec.file):
        raise ValueError("file: is no path")
    return spec


def _checked_name(name: str) -> str:
    if not name or not is_text(name):
        raise ValueError("is no name of a class")
    return name


def _checked_path(path: str) -> str:
    if "\0" in path:
        raise ValueError("is no path")
    os.fsencode(path)  # of other letters that are no text it raises ValueError
    return path


def _first(error: pydantic.ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    return one_line(f"{'.'.join(map(str, problem['loc']))}: {message}")


@dataclass(frozen=True)
class KeptEncoder:
    """An encoder as it was asked for, and what decides its numbers.

    spec: its file is absolute, "", "random" or the name of weights that come with the
        installation.
    """

    spec: Annotated[EncoderSpec, AfterValidator(_checked_spec)]
    record: Annotated[EncoderRecord, AfterValidator(_checked_record)]

    @property
    def path(self) -> Path | None:
        """Where the weights were; None for those that were not a file of the user's."""
        file = self.spec.file
        return Path(file) if file not in ("", RANDOM, INSTALLED) else None

    @property
    def sha256(self) -> str | None:
        """Of the file of weights; None for random ones."""
        sha256: str | None = self.record.facts["encoder"]["sha256"]
        return sha256


@dataclass(frozen=True)
class RecognizerCard:
    """What a fitted recognizer is.

    embedding: options of `EmbedConfig`. encoders: in the order of the embeddings.
    head, params: name in `ALL_HEADS` and its own parameters. preparation: of embeddings.
    classes: names in the order of labels.
    train_sha256, mirrored_sha256, texts_sha256: of the files of embeddings; the second is None
        without mirror images, the third for heads without texts. version: of cvgssl that wrote it.
    elsewhere: where train pictures are that are not below the data folder, absolute, by their
        names or by the folder that their names begin with.
    """

    classes: tuple[Annotated[str, AfterValidator(_checked_name)], ...]
    head: Annotated[str, OneOf(ALL_HEADS)]
    params: dict[str, Any]
    preparation: PreparationMode
    embedding: Annotated[dict[str, Any], AfterValidator(_checked_embedding)]
    encoders: Annotated[tuple[KeptEncoder, ...], Field(min_length=1)]
    train_sha256: str = ""
    mirrored_sha256: str | None = None
    texts_sha256: str | None = None
    version: str = __version__
    elsewhere: dict[str, Annotated[str, AfterValidator(_checked_path)]] = field(
        default_factory=dict
    )

    @property
    def records(self) -> list[EncoderRecord]:
        """Of the encoders, in their order."""
        return [encoder.record for encoder in self.encoders]

    def options(self, **changes: Any) -> EmbedConfig:
        """How pictures are embedded, with `changes`; its `data` has no meaning."""
        return make(EmbedConfig, self.embedding | changes | {"data": Path()})


@dataclass(frozen=True)
class KeptEmbeddings:
    """What a recognizer keeps, as the encoders give it.

    train: values float32 [N, D], labels -1 or a class. mirrored: of `embed_mirrored_each`, of
    labelled ones; None without. texts: of the classes, see `texts_table`; None without.
    """

    train: FeatureTable
    mirrored: FeatureTable | None = None
    texts: FeatureTable | None = None


def save_recognizer(folder: Path, card: RecognizerCard, kept: KeptEmbeddings) -> None:
    """Write the files."""
    described = asdict(card)
    for name, table in ((TRAIN, kept.train), (MIRRORED, kept.mirrored), (TEXTS, kept.texts)):
        if table is not None:
            save_features(table, folder / name)
            described[f"{Path(name).stem}_sha256"] = sha256_file(folder / name)
    write_json(folder / CARD, {"format": FORMAT} | described)


def load_recognizer(folder: Path) -> tuple[RecognizerCard, KeptEmbeddings]:
    """Read the files, checked against the hashes; raises UserError naming what is wrong."""
    card = _read_card(folder / CARD)
    train, mirrored, texts = _features(folder / TRAIN, card.train_sha256), None, None
    width = sum(record.width for record in card.records)
    together = train.classes == card.classes and train.values.shape[1] == width
    if card.mirrored_sha256 is not None:
        mirrored = _features(folder / MIRRORED, card.mirrored_sha256)
        together &= mirrored.values.shape[1] % width == 0 and {*mirrored.names} <= {*train.names}
    together &= (card.texts_sha256 is not None) == (card.head in TEXT_HEADS)
    if card.texts_sha256 is not None:
        texts = _features(folder / TEXTS, card.texts_sha256)
        together &= texts.classes == card.classes and texts.values.shape[1] == width
    if not together:
        raise UserError(f"{folder}: its files do not belong together; copy the whole folder again")
    if texts is not None:
        with naming(str(folder / TEXTS)):
            head_options(texts)
    return card, KeptEmbeddings(train, mirrored, texts)


def picture_places(train: FeatureTable, elsewhere: Mapping[str, str]) -> list[Path]:
    """Where the pictures of `train` were when the recognizer was made; some may be gone.

    elsewhere: of the `RecognizerCard`.
    """
    data = train.root.parent if train.root.is_file() else train.root  # of a CSV
    return [_place(name, data, elsewhere) for name in train.names]


def _place(name: str, data: Path, elsewhere: Mapping[str, str]) -> Path:
    if name in elsewhere:
        return Path(elsewhere[name])
    below = data / name
    if below.is_file():  # DATA may have a folder that is called as one elsewhere
        return below
    parts = name.split("/")
    for count in range(len(parts) - 1, 0, -1):
        if folder := elsewhere.get("/".join(parts[:count])):
            return Path(folder, *parts[count:])
    return below


def _features(path: Path, sha256: str) -> FeatureTable:
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy the whole folder")
    if sha256_file(path) != sha256:
        raise UserError(f"{path}: is not the file that {CARD} describes; copy both again")
    return load_features(path)


def _read_card(path: Path) -> RecognizerCard:
    value = parse_json(path, "a recognizer's card: it is damaged", "copy the whole folder again")
    if not isinstance(value, dict) or "format" not in value:
        raise UserError(f"{path}: damaged, or not of `cvgssl fit`; copy it again")
    number = value.pop("format")
    if number != FORMAT:
        raise UserError(
            f"{path}: has format {one_line(number)}, this version of cvgssl reads {FORMAT}; use "
            "the version that wrote it"
        )
    try:
        card = pydantic.TypeAdapter(RecognizerCard).validate_python(value)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: is wrong at {_first(error)}") from error
    _check_params(path, card)
    return card


def _check_params(path: Path, card: RecognizerCard) -> None:
    """Raise UserError for parameters that the head does not have, or of another kind."""
    known = own_parameters(card.head)
    for name, value in card.params.items():
        if name not in known or not _alike(known[name], value):
            raise UserError(
                f"{path}: is wrong at params.{one_line(name)}: {card.head} takes no "
                f"{one_line(repr(value), 60)} there"
            )


def _alike(default: Any, value: Any) -> bool:
    """Whether `value`, from JSON, is of the kind of `default`: number, text, yes or no, numbers."""
    if isinstance(default, bool | str) or default is None:
        return default is None or isinstance(value, type(default))
    if isinstance(default, int | float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if isinstance(default, tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(default)
            and all(map(_alike, default, value))
        )
    return True
