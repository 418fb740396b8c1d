"""Options of the benchmark: flags, YAML keys, docs and checks. Imports no torch and no sklearn."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from cvgssl.bench.entries import (
    ChosenLabels,
    EncoderChoice,
    FeatureSource,
    FinetuneChoice,
    HeadChoice,
    checked_encoder,
    checked_finetune,
    checked_head,
    checked_source,
)
from cvgssl.features.config import SupportFlips
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.heads import ALL_HEADS, HEADS
from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import STRICT, RuntimeOption, Written

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
class BenchConfig(RuntimeOption, SizeLimit):
    """Compare heads on features of one or several data sets and encoders.

    `cvgssl bench --config FILE.yaml` takes these options from a file; `cvgssl bench --features
    FILE` needs none. What has been computed in the folder --out before is not computed again.
    """

    features: tuple[Annotated[FeatureSource, BeforeValidator(checked_source)], ...] = Field(
        default=(),
        description="features files (.npz, .parquet) by `cvgssl embed` or anybody else; in YAML "
        "also {file, data, encoder, pictures, text, prompts, mirrored}",
    )
    data: tuple[Path, ...] = Field(
        default=(), description="data sets to embed with --encoders: folders or CSV files"
    )
    encoders: tuple[Annotated[EncoderChoice, BeforeValidator(checked_encoder)], ...] = Field(
        default=(),
        description="frozen encoders of --data, as `cvgssl embed` takes them, with its default; in "
        "YAML also {name, encoder, text, prompts, OPTION: ...} with the options of `cvgssl embed`",
    )
    heads: tuple[Annotated[HeadChoice, BeforeValidator(checked_head)], ...] = Field(
        default=(),
        description="heads to compare, all if left out (those that read the classes' names only "
        "with a text or prompts key); in YAML also {head, label, PARAMETER: ...}",
    )
    finetune: tuple[Annotated[FinetuneChoice, BeforeValidator(checked_finetune)], ...] = Field(
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
        description="test pictures of a Dirichlet draw, per class on average",
    )
    alpha: float = Field(
        default=2.0,
        gt=0,
        description="concentration of the Dirichlet "
        "distribution of class shares; 1: all shares equally likely; larger: more equal",
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
        return self.encoders or (EncoderChoice(**checked_encoder({})),)

    def baseline_label(self) -> str:
        """The head that the others are compared with."""
        return self.baseline or self.choices()[0].label
