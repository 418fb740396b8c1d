"""Options of pre-training: the one source of flags, YAML keys, docs, checks.

Imports no torch, so that `--help` is quick.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from cvgssl.encoders.encoder_spec import NAMED_BY
from cvgssl.encoders.start_options import StartOptions
from cvgssl.images.picture_options import PictureOptions
from cvgssl.pretrain.methods.registry import (
    GUIDANCES,
    METHODS,
    declared_options,
    own_methods,
    own_readers,
    problems_of_method,
)
from cvgssl.runtime.options import (
    STRICT,
    JobOptions,
    OneOf,
    RuntimeOption,
    Written,
    fields_of,
)
from cvgssl.views.recipe import ViewRecipe

Builder = Annotated[str, OneOf(METHODS)]
Guidance = Annotated[
    str,
    OneOf(GUIDANCES),
    Field(description="how teachers guide --builder cvgssl; see docs/method.md"),
]


def _off_is_zero(value: object) -> object:
    return 0 if value in ("off", False) else value  # YAML reads a bare `off` as False


BankSize = Annotated[int, BeforeValidator(_off_is_zero)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig(StartOptions, JobOptions, RuntimeOption, PictureOptions):
    """Pre-train a backbone on unlabelled pictures, guided by frozen vision encoders."""

    data: Path = Field(
        description="folder of pictures; of a folder with train/ and test/ only train/ is used, "
        "and class folders inside are not looked at"
    )
    preset: Literal["", "paper", "cpu", "gpu", "continue"] = Field(
        default="", description="ready settings that other options change"
    )
    builder: Builder = Field(
        default="cvgssl",
        description=f"method; {own_methods(teachers=True)} has teachers only, "
        f"{own_methods(teachers=False)} have none",
    )
    teacher: tuple[str, ...] = Field(
        default=(),
        description=f"frozen encoder that guides, such as ViT-B/32=ViT-B-32.pt: {NAMED_BY}; "
        ":WEIGHT after it, such as :0.5, is that of its loss; several may be given",
    )
    teacher_layers: tuple[int, ...] = Field(
        default=(),
        description="depths of every teacher, from 1, such as 6 9 12, whose class token (if there "
        "is one) and patch mean guide, side by side, in place of its output",
    )
    guidance: Guidance = "spectral"
    self_constraint: Literal["none", "published", "margin"] = Field(
        default="published", description="form of the self-constrained loss"
    )
    self_weight: float = Field(default=0.01, ge=0, description="weight of that loss")
    margin: float = Field(
        default=0.2, ge=0, le=2, description="margin of that loss, of cosines, with form margin"
    )
    t1: float = Field(default=1.0, gt=0, description="temperature of the contrastive losses")
    relation_temperature: float = Field(
        default=0.1,
        gt=0,
        description="temperature of similarity distributions "
        f"({own_readers('relation_temperature')})",
    )
    neighbours: int = Field(
        default=10,
        ge=2,
        description=f"edges per picture in the graph of all pictures ({own_readers('neighbours')})",
    )
    mlp_dim: int = Field(
        default=512, ge=1, description="width inside projection head and predictor"
    )
    adapter_dim: int = Field(default=1024, ge=1, description="width inside teachers' adapters")
    out_dim: int = Field(default=256, ge=2, description="width of what the losses compare")

    view_size: int = Field(default=224, ge=16, le=1024, description="side of the weak view, pixels")
    weak_scale: tuple[float, float] = Field(
        default=(0.2, 1.0), description="area of the weak view's crop, least and most, 0..1"
    )
    nmb_crops: tuple[int, ...] = Field(
        default=(1, 1, 1, 1), description="strong views of each kind; kinds have the sizes below"
    )
    size_crops: tuple[int, ...] = Field(
        default=(), description="side of each kind of strong view, pixels; empty: --view-size"
    )
    min_scale_crops: tuple[float, ...] = Field(
        default=(0.2, 0.172, 0.143, 0.114), description="least area of each kind's crop, 0..1"
    )
    max_scale_crops: tuple[float, ...] = Field(
        default=(1.0, 0.86, 0.715, 0.571), description="largest area of each kind's crop, 0..1"
    )
    brightness: float = Field(default=0.2, ge=0, le=1, description="brightness jitter, all views")
    contrast: float = Field(default=0.2, ge=0, le=1, description="contrast jitter, all views")
    gray: float = Field(default=0.2, ge=0, le=1, description="share of strong views without colour")
    blur: float = Field(default=0.5, ge=0, le=1, description="share of strong views blurred")
    show_views: Annotated[Path | None, Written()] = Field(
        default=None, description="draw the views of some pictures into this PNG and stop"
    )
    bank: BankSize = Field(
        default=8,
        ge=0,
        le=1000,
        description="views of each kind stored per picture with the teachers' embeddings, which "
        "are then computed once; off or 0: new views and embeddings in every epoch",
    )
    bank_dir: Annotated[Path | None, Written(folder=True)] = Field(
        default=None, description="where banks are kept; left out: the cache folder"
    )

    epochs: int = Field(default=300, ge=1, description="passes over the pictures")
    start_epoch: int = Field(default=0, ge=0, description="first epoch of the schedule, from 0")
    batch_size: int = Field(default=64, ge=2, description="pictures per step, all processes")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="parts of a batch computed one after another; negatives and "
        "batch norm then see one part",
    )
    optimizer: Literal["sgd", "adam", "adamw", "lars"] = Field(
        default="sgd", description="optimizer"
    )
    lr: float = Field(default=0.3, gt=0, description="highest learning rate")
    scale_lr: bool = Field(default=False, description="multiply --lr by batch size / 256")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD and LARS")
    weight_decay: float = Field(default=1e-6, ge=0, description="weight decay")
    warmup_epochs: int = Field(
        default=10, ge=0, description="epochs of rising learning rate before the cosine"
    )
    clip_grad: float | None = Field(
        default=None, gt=0, description="largest norm of the gradient; larger ones are scaled"
    )
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of averaged backbone weights, saved as well"
    )
    target_momentum: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="start of the momentum of the target network "
        f"({own_readers('target_momentum')}); rises to 1",
    )
    compile: bool = Field(default=False, description="torch.compile the backbone")
    print_freq: int = Field(
        default=10, ge=1, description="steps after which the loss is read, which progress shows"
    )
    monitor_every: int = Field(
        default=10,
        ge=1,
        description="epochs between evaluations of the embedding (collapse, agreement)",
    )
    knn: bool = Field(
        default=False,
        description="with class folders: log leave-one-out nearest-neighbour accuracy on train/, "
        "for watching only",
    )
    save_freq: int = Field(default=10, ge=1, description="epochs between checkpoints")
    keep: int = Field(default=3, ge=1, description="newest checkpoints kept")

    @property
    def recipes(self) -> tuple[ViewRecipe, ...]:
        """The weak view's recipe, then those of the strong views."""
        weak = ViewRecipe(
            self.view_size,
            self.weak_scale,
            brightness=self.brightness,
            contrast=self.contrast,
            flip_y=0.5,
        )
        strong = [
            ViewRecipe(
                size,
                (least, most),
                brightness=self.brightness,
                contrast=self.contrast,
                gray=self.gray,
                blur=self.blur,
            )
            for count, size, least, most in zip(
                self.nmb_crops,
                self.size_crops or [self.view_size] * len(self.nmb_crops),
                self.min_scale_crops,
                self.max_scale_crops,
                strict=True,
            )
            for _ in range(count)
        ]
        return (weak, *strong)

    def _problems(self) -> list[str]:
        problems = [*super()._problems(), *_problems_of_views(self), *_problems_of_epochs(self)]
        return problems + problems_of_method(self)


def pretrain_config() -> type[PretrainConfig]:
    """`PretrainConfig`, with the options that methods of other packages declare where there are.

    Raises UserError for declarations that do not fit.
    """
    added = declared_options(fields_of(PretrainConfig))
    if not added:
        return PretrainConfig
    body = {"__doc__": PretrainConfig.__doc__, "__module__": __name__}
    joined = type("PretrainConfig", (PretrainConfig, *added), body)
    config: Any = dataclass(frozen=True, kw_only=True, config=STRICT)(joined)
    return cast(type[PretrainConfig], config)


def _problems_of_views(config: PretrainConfig) -> list[str]:
    """A line for every impossible size, area or number of views."""
    problems = []
    kinds = len(config.nmb_crops)
    for name in ("size_crops", "min_scale_crops", "max_scale_crops"):
        values = getattr(config, name)
        if len(values) != kinds and not (name == "size_crops" and not values):
            flag = name.replace("_", "-")
            problems.append(f"--{flag}: has {len(values)} values, --nmb-crops has {kinds}")
    strong = zip(config.min_scale_crops, config.max_scale_crops, strict=True)
    if not problems and not all(
        0 < least <= most <= 1 for least, most in (config.weak_scale, *strong)
    ):
        problems.append(
            "crop areas (--weak-scale, --min-scale-crops, --max-scale-crops): "
            "must be above 0, at most 1, the least not above the largest"
        )
    if any(size < 8 for size in config.size_crops) or any(n < 0 for n in config.nmb_crops):
        problems.append("--size-crops: at least 8 pixels; --nmb-crops: not below 0")
    elif sum(config.nmb_crops) < 1:
        problems.append("--nmb-crops: at least one strong view is needed")
    return problems


def _problems_of_epochs(config: PretrainConfig) -> list[str]:
    epochs = config.epochs
    return [
        f"--{flag} {value}: must be below --epochs {epochs}"
        for flag, value in (
            ("warmup-epochs", config.warmup_epochs),
            ("start-epoch", config.start_epoch),
        )
        if value >= epochs
    ]
