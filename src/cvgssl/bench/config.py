"""Options of the benchmark: flags, YAML keys, docs and checks. Imports no torch and no sklearn."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.config import EmbedConfig, SupportFlips
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.heads import ALL_HEADS, HEADS, TEXT_HEADS
from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import STRICT, RuntimeOption, Written, explain, make

Setting = Literal[
    "inductive",
    "semi-supervised",
    "transductive",
    "transductive-balanced",
    "transductive-dirichlet",
]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
SHOTS = (1, 2, 3, 4, 5, 8, 10, 16)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeatureSource:
    """One features file: embeddings of one data set by one encoder.

    data, encoder: what tables call them; empty: what the file says, else the file's name.
    pictures: folder that the names in the file are relative to, for the gallery of mistakes.
    text: NAME=FILE of the CLIP that made them, for heads that read the classes' names; may be
        empty. prompts: file that describes the classes.
    mirrored: what its train pictures look like in mirrors (`embed_mirrored_each`).
    """

    file: Path
    data: str = ""
    encoder: str = ""
    pictures: Path | None = None
    text: str = ""
    prompts: Path | None = None
    mirrored: Path | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderChoice:
    """An encoder for `data`: its name in tables and the options of `cvgssl embed`.

    text: whether its own weights have a text tower to be used, or NAME=FILE of another; None: its
        own, where a head asks for it. prompts: file that describes the classes.
    """

    name: str
    options: dict[str, Any]
    text: bool | str | None = None
    prompts: Path | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadChoice:
    """A head by its name in cvgssl.heads, parameters that differ, and its name in tables.

    The same head may be in a benchmark several times under different labels.
    """

    head: str
    label: str
    params: dict[str, Any]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ChosenLabels:
    """Labelled pictures that somebody chose, in place of random draws: rows of their own.

    name: what tables add to the head's name. files: draws as JSON, or filled-in lists as CSV (what
    `cvgssl select` writes), each a run or several. data: the data set they are of; may be empty
    when there is only one.
    """

    name: str
    files: tuple[Path, ...] = Field(min_length=1)
    data: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneChoice:
    """A way of fine-tuning: its name in tables, the options of `cvgssl finetune`.

    encoder: the encoder in whose table it is shown; empty: the first.
    """

    name: str
    encoder: str
    options: dict[str, Any]


_SOURCE = ("file", "data", "encoder", "pictures", "text", "prompts", "mirrored")


def _source(value: Any) -> Any:
    if isinstance(value, FeatureSource):
        value = {name: getattr(value, name) for name in _SOURCE}
    if not isinstance(value, dict):
        value = {"file": value}
    unknown = sorted(set(value) - set(_SOURCE))
    if unknown or "file" not in value:
        raise ValueError(
            f"{', '.join(unknown)}: no such key" if unknown else "file: FEATURES.npz is missing"
        )
    file = _path(value["file"], "file")
    if file.suffix not in (".npz", ".parquet"):
        raise ValueError("features are read from .npz or .parquet; `cvgssl embed` makes them")
    if not file.exists():
        raise ValueError("no such file; `cvgssl embed` makes features")
    if value.get("mirrored") and not _path(value["mirrored"], "mirrored").exists():
        raise ValueError("mirrored: no such file; `cvgssl embed --mirrored` makes it")
    if value.get("prompts") and not value.get("text"):
        raise ValueError("prompts: give text: NAME=FILE of the CLIP too")
    _check_prompts(value.get("prompts"))
    return value


def _check_prompts(file: Any) -> None:
    if file is not None and not _path(file, "prompts").is_file():
        raise ValueError(f"prompts: no such file: {file}")


def _path(value: Any, key: str) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"{key}: must be a path")
    return Path(value)


def _options(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key}: must be `option: value` lines")
    return {str(name): setting for name, setting in value.items()}


def _encoder(value: Any) -> Any:
    """`SPEC` or {name: vit, encoder: SPEC, OPTION: ...}, options of `cvgssl embed`; checked."""
    if isinstance(value, EncoderChoice):
        value = {key: getattr(value, key) for key in ("name", "options", "text", "prompts")}
    entry: dict[str, Any] = dict(value) if isinstance(value, dict) else {"encoder": [str(value)]}
    name, text, prompts = entry.pop("name", ""), entry.pop("text", None), entry.pop("prompts", None)
    _check_prompts(prompts)
    options = _options(entry.pop("options", None) or entry, "options")
    options = {name.replace("-", "_"): setting for name, setting in options.items()}
    if isinstance(options.get("encoder"), str):
        options["encoder"] = [options["encoder"]]
    problems = [f"{key}: belongs to the benchmark" for key in ("data", "out") if key in options]
    if not problems:
        try:
            make(EmbedConfig, options | {"data": Path()})
        except ValidationError as error:
            problems = explain(error)
    if problems:
        raise ValueError("; ".join(problems))
    encoders = options.setdefault("encoder", [INSTALLED])
    name = str(name or Path("+".join(encoders)).stem)
    return {"name": name, "options": options, "text": text, "prompts": prompts}


def _finetune(value: Any) -> Any:
    """{name: ..., encoder: ..., OPTION: ...} with options of `cvgssl finetune`; checked."""
    if isinstance(value, FinetuneChoice):
        value = {"name": value.name, "encoder": value.encoder, "options": value.options}
    if not isinstance(value, dict):
        raise ValueError("in YAML: {name: ..., OPTION of `cvgssl finetune`: ...}")
    entry = dict(value)
    name, encoder = entry.pop("name", "fine-tuning"), entry.pop("encoder", "")
    options = _options(entry.pop("options", None) or entry, "options")
    options = {name.replace("-", "_"): setting for name, setting in options.items()}
    reserved = sorted(
        {"data", "out", "draws", "labels", "num_draws", "shot", "resume", "imbalance"}
        & set(options)
    )
    problems = [f"{key}: belongs to the benchmark" for key in reserved]
    if not problems:
        try:
            make(FinetuneConfig, options | {"data": Path()})
        except ValidationError as error:
            problems = explain(error)
    if problems:
        raise ValueError("; ".join(problems))
    return {"name": str(name), "encoder": str(encoder), "options": options}


def _choice(value: Any) -> Any:
    """`knn`, {head: knn, k: 3} or {head: knn, label: knn 3, params: {k: 3}}; checked."""
    if isinstance(value, HeadChoice):
        value = {"head": value.head, "label": value.label, "params": value.params}
    entry = dict(value) if isinstance(value, dict) else {"head": value}
    name, label = str(entry.pop("head", "")), entry.pop("label", "")
    params = _options(entry.pop("params", None) or entry, "params")
    if name not in ALL_HEADS:
        raise ValueError(f"no such head; there are {', '.join(ALL_HEADS)}")
    known = ALL_HEADS[name]().get_params()  # imports scikit-learn, so only where one is named
    if name in TEXT_HEADS:  # these come with the features
        known = {key: known[key] for key in known if key not in ("anchors", "classes")}
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    extra = ", ".join(f"{key}={params[key]}" for key in sorted(params))
    return {"head": name, "label": str(label or f"{name} {extra}".strip()), "params": params}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchConfig(RuntimeOption, SizeLimit):
    """Compare heads on features of one or several data sets and encoders.

    `cvgssl bench CONFIG.yaml` takes these options from a file; `cvgssl bench --features FILE` needs
    none. What has been computed in the folder --out before is not computed again.
    """

    features: tuple[Annotated[FeatureSource, BeforeValidator(_source)], ...] = Field(
        default=(),
        description="features files (.npz, .parquet) by `cvgssl embed` or anybody else; in YAML "
        "also {file, data, encoder, pictures, text, prompts, mirrored}",
    )
    data: tuple[Path, ...] = Field(
        default=(), description="data sets to embed with --encoders: folders or CSV files"
    )
    encoders: tuple[Annotated[EncoderChoice, BeforeValidator(_encoder)], ...] = Field(
        default=(),
        description="frozen encoders of --data, as `cvgssl embed` takes them, with its default; in "
        "YAML also {name, encoder, text, prompts, OPTION: ...} with the options of `cvgssl embed`",
    )
    heads: tuple[Annotated[HeadChoice, BeforeValidator(_choice)], ...] = Field(
        default=(),
        description="heads to compare, all if left out (those that read the classes' names only "
        "with a text or prompts key); in YAML also {head, label, PARAMETER: ...}",
    )
    finetune: tuple[Annotated[FinetuneChoice, BeforeValidator(_finetune)], ...] = Field(
        default=(),
        description="in YAML: fine-tuning beside the heads, {name, encoder, OPTION: ...} with the "
        "options of `cvgssl finetune`",
    )
    num_finetune_draws: int = Field(
        default=5, ge=1, le=10_000, description="draws for fine-tuning, the first of the same"
    )
    chosen: tuple[ChosenLabels, ...] = Field(
        default=(),
        description="in YAML: labelled pictures chosen otherwise than at random, {name, data, "
        "files: [draws.json or filled-in CSV, ...]}",
    )
    settings: tuple[Setting, ...] = Field(
        default=("inductive", "semi-supervised", "transductive"),
        min_length=1,
        description=f"what may be used beside the labelled pictures: {', '.join(SETTINGS)}",
    )
    shots: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        default=SHOTS, min_length=1, description="labelled pictures per class"
    )
    num_draws: int = Field(
        default=100, ge=1, le=10_000, description="draws of labelled pictures, shared by all"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the draws")
    preparation: PreparationMode = Field(
        default="power",
        description="of features, learned from unlabelled train pictures (inductive: from the "
        "labelled ones alone)",
    )
    support_flips: SupportFlips = Field(
        default="both",
        description="mirror images of each labelled picture of --data that heads which learn from "
        "labels alone (auto's kernel-ridge too) see besides it: none, 1 (horizontal) or 3 (both)",
    )
    queries_per_class: int = Field(
        default=15,
        ge=1,
        le=1_000_000,
        description="test pictures of a Dirichlet draw, times the classes",
    )
    alpha: float = Field(
        default=2.0, gt=0, description="of the Dirichlet distribution of class shares; 1: any"
    )
    baseline: str = Field(
        default="", description="head that others are compared with; the first if left out"
    )
    jobs: int = Field(default=0, ge=0, le=1024, description="processes; 0: one per core")
    out: Annotated[Path, Written(folder=True)] = Field(
        default=Path("bench"), description="folder for results and report"
    )

    @model_validator(mode="after")
    def _something(self) -> "BenchConfig":
        if self.encoders and not self.data:
            raise ValueError("--encoders: are for --data; name it")
        if not self.features and not self.data:
            raise ValueError("--features FILE or --data DATA is needed")
        return self

    @field_validator("data")
    @classmethod
    def _is_there(cls, data: tuple[Path, ...]) -> tuple[Path, ...]:
        missing = [str(path) for path in data if not path.exists()]
        if missing:
            raise ValueError(f"no such folder or file: {', '.join(missing)}")
        return data

    @field_validator("heads", "settings", "shots", "encoders", "finetune")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(value, "label", getattr(value, "name", value)) for value in values]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return values

    @field_validator("baseline")
    @classmethod
    def _known(cls, baseline: str, info: ValidationInfo) -> str:
        labels = [choice.label for choice in info.data.get("heads", ())] or list(ALL_HEADS)
        if baseline and "heads" in info.data and baseline not in labels:
            raise ValueError(f"not among the heads: {', '.join(labels)}")
        return baseline

    @field_validator("chosen")
    @classmethod
    def _there(cls, chosen: tuple[ChosenLabels, ...]) -> tuple[ChosenLabels, ...]:
        missing = [str(file) for entry in chosen for file in entry.files if not file.is_file()]
        if missing:
            raise ValueError(f"no such file: {', '.join(missing)}")
        return chosen

    def choices(self) -> tuple[HeadChoice, ...]:
        """The heads to compare; all that there are if none was named.

        Those that read the classes' names are among them where a text or prompts key is given.
        """
        texts = any(source.text for source in self.features)
        texts |= any(encoder.text or encoder.prompts for encoder in self.encoders)
        names = ALL_HEADS if texts else HEADS
        return self.heads or tuple(HeadChoice(head=name, label=name, params={}) for name in names)

    def encoder_choices(self) -> tuple[EncoderChoice, ...]:
        """The encoders of `data`; the default of `cvgssl embed` if none was named."""
        return self.encoders or (EncoderChoice(**_encoder({})),)

    def baseline_label(self) -> str:
        """The head that the others are compared with."""
        return self.baseline or self.choices()[0].label
