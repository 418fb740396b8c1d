"""Options of fine-tuning and linear evaluation: the one source of flags, YAML keys, docs, checks.

Imports no torch, so that `--help` is quick.
"""

from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from cvgssl.encoders.start_options import StartOptions
from cvgssl.images.picture_options import PictureOptions, SplitOptions
from cvgssl.runtime.options import STRICT, JobOptions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptConfig(StartOptions, JobOptions, PictureOptions, SplitOptions):
    """What fine-tuning and linear evaluation share; defaults are the published ones."""

    shot: int = Field(default=4, ge=1, le=1_000_000, description="labelled pictures per class")
    num_draws: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="random draws of labelled pictures, each trained and measured by itself",
    )
    draws: Path | None = Field(
        default=None,
        description="draws.json of another run: use its pictures; --shot, --num-draws then unused",
    )
    labels: Path | None = Field(
        default=None,
        description="CSV of path,label such as a filled-in selection.csv: train on these pictures; "
        "--shot, --num-draws then unused",
    )
    imbalance: float = Field(
        default=1.0,
        ge=1,
        description="largest class over smallest in a long-tailed draw; 1 is balanced",
    )
    class_num: int | None = Field(
        default=None, ge=2, description="number of classes, checked when given"
    )
    normalize: Literal["auto", "half", "imagenet", "clip"] = Field(
        default="auto", description="pixel mean and std; auto: what the weights were trained with"
    )
    epochs: int = Field(
        default=100, ge=1, le=1_000_000, description="passes over the labelled pictures"
    )
    start_epoch: int = Field(default=0, ge=0, description="first epoch of the schedule, from 0")
    batch_size: int = Field(
        default=256, ge=1, description="labelled pictures per step, all processes"
    )
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="optimizer")
    lr: float = Field(
        default=0.003, gt=0, description="learning rate at the start of a cosine schedule"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing")
    eval_every: int = Field(
        default=1, ge=1, description="epochs between evaluations of the test pictures"
    )
    eval_batch_size: int = Field(default=64, ge=1, description="pictures per step without gradient")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of averaged weights, evaluated beside the raw ones",
    )
    save_weights: Literal["first", "all"] = Field(
        default="first", description="keep the final weights of the first draw or of every draw"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.start_epoch >= self.epochs:
            problems.append(
                f"--start-epoch {self.start_epoch}: must be below --epochs {self.epochs}"
            )
        if self.draws is not None and self.labels is not None:
            problems.append("--draws, --labels: name one; labelled pictures are of one source")
        for name in ("draws", "labels"):
            if getattr(self, name) is not None and self.imbalance != 1:
                problems.append(f"--imbalance: has no effect with --{name}; leave one of them out")
        return problems


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinearConfig(AdaptConfig):
    """Train a linear classifier on the features of a frozen backbone."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneConfig(AdaptConfig):
    """Fine-tune a backbone and a linear head on a few labelled pictures per class."""

    augment: bool = Field(
        default=False,
        description="random crops, flips, brightness and contrast of labelled pictures",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="factor of the learning rate per layer towards the input",
    )
    trainable: str = Field(
        default="all",
        description="what is trained beside the classifier: all; head (nothing); norm (scale and "
        "shift of normalisation layers); blocks:N (the last N blocks); lora:RANK (low-rank updates "
        "of a transformer's attention)",
    )
    lora_alpha: float = Field(
        default=8.0, gt=0, description="updates of lora:RANK are multiplied by this / RANK"
    )
    pseudo_labels: bool = Field(
        default=False,
        description="semi-supervised: train on unlabelled pictures of train/ too, as the head auto "
        "classifies them on features of the backbone before fine-tuning",
    )
    unlabelled: Path | None = Field(
        default=None,
        description="with --pseudo-labels: folder of more pictures, none labelled; copies of those "
        "in DATA are left out",
    )
    unlabelled_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="with --pseudo-labels: share of the unlabelled pictures used, the surest of "
        "each class",
    )
    labelled_share: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="with --pseudo-labels: share of labelled pictures in a batch; unlabelled ones "
        "come on top of --batch-size",
    )

    @field_validator("trainable")
    @classmethod
    def _check_trainable(cls, text: str) -> str:
        parse_trainable(text)
        return text

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.pseudo_labels and not self.pretrained:
            problems.append(
                "--pseudo-labels: needs --pretrained; a random network cannot guess classes"
            )
        if self.unlabelled is not None and not self.pseudo_labels:
            problems.append(
                f"--unlabelled {self.unlabelled}: is used by --pseudo-labels only; give that too"
            )
        return problems


TrainableKind = Literal["all", "head", "norm", "blocks", "lora"]
_NUMBERED = {"blocks": "how many of the last blocks, such as blocks:2", "lora": "RANK as in lora:8"}


@dataclass(frozen=True)
class Trainable:
    """The part of a recognizer that is trained; its linear classifier always is.

    kind: all; head, nothing else; norm, scale and shift of normalisation layers; blocks, the last
        `number` blocks and what follows them; lora, low-rank updates of rank `number`.
    """

    kind: TrainableKind
    number: int = 0


def parse_trainable(text: str) -> Trainable:
    """`all`, `head`, `norm`, `blocks:N` or `lora:RANK`; raises ValueError for anything else."""
    kind, colon, number = text.partition(":")
    if kind not in get_args(TrainableKind):
        raise ValueError("must be all, head, norm, blocks:N or lora:RANK")
    if kind not in _NUMBERED:
        if colon:
            raise ValueError(f"{kind} takes no number")
        return Trainable(cast(TrainableKind, kind))
    if not (number.isascii() and number.isdecimal() and int(number)):
        raise ValueError(f"needs a number from 1: {_NUMBERED[kind]}")
    return Trainable(cast(TrainableKind, kind), int(number))
