"""Options of `cvgssl fit`, of prediction and of `recentre`.

Imports no torch and no sklearn, so that `--help` is quick.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from cvgssl.features.config import EmbedConfig, EncodingOptions, SupportFlips
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.heads import ALL_HEADS, TEXT_HEADS
from cvgssl.images.picture_options import BatchOptions
from cvgssl.runtime.options import (
    STRICT,
    CheckedOptions,
    GpuOption,
    RuntimeOption,
    Written,
    fields_of,
)

ONNX_SUFFIX, OPENVINO_SUFFIX, WEIGHTS_SUFFIX = ".onnx", ".xml", ".bin"
EXPORTED = (ONNX_SUFFIX, OPENVINO_SUFFIX)
"""What the names of exported files end in; an .xml has its weights in a .bin beside it."""
Checkpoint = Annotated[
    Literal["last", "ema"],
    Field(description="last: weights of the last epoch; ema: their running average"),
]
SortMode = Literal["copy", "move"]
PICTURES_BETWEEN = 100_000
"""Default of what `AlarmOptions` calls `false_alarm_every`."""
MOST_NEAREST = 5
"""Labelled pictures that are named with an answer, at most: those that exported files give."""
DEFAULT_RATE = 0.1
"""Share of the pictures of known classes that may be called unknown; that of exported files."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitConfig(EncodingOptions):
    """Make a recognizer without training: a head on the embeddings of a frozen encoder.

    Labels come from a filled-in list or a draw; all other train pictures are used without labels.
    Test pictures are used for nothing but the accuracy that is printed at the end.
    `cvgssl predict OUT PICTURES` then classifies new pictures.
    """

    labels: Path | None = Field(
        default=None,
        description="CSV of path,label such as a filled-in selection.csv; pictures without label "
        "or with ? stay unlabelled",
    )
    shot: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="instead of --labels: this many pictures of each class folder are labelled, "
        "drawn by --seed",
    )
    class_folders: bool = Field(
        default=True, description="false: folders are not classes, classes are those of --labels"
    )
    unlabelled: Path | None = Field(
        default=None,
        description="folder of more pictures, without labels but for those that --labels names by "
        "FOLDER/NAME; copies of pictures in DATA are left out",
    )
    head: str = Field(
        default="auto", description="few-shot head on the embeddings; docs/heads.md lists them"
    )
    prompts: Path | None = Field(
        default=None,
        description="for heads that know what the classes are called "
        f"({', '.join(TEXT_HEADS)}): YAML or text file of `class: description`; "
        "left out: the classes' names",
    )
    support_flips: SupportFlips = Field(
        default="both",
        description="mirror images of each labelled picture that heads which learn from labels "
        "alone (auto's kernel-ridge too) see besides it: horizontal: 1, both: 3; where "
        "the direction of a defect is its class, as in scratches along and across, use none",
    )
    preparation: PreparationMode | None = Field(
        default=None,
        description="of embeddings before the head, learned from all train pictures without "
        "labels; power: square root where no number is negative, minus the mean, divided by a "
        "shrunken standard deviation; left out: power, and none with a head that knows what the "
        "classes are called, which takes no other",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the draw, and of the split where DATA has none",
    )
    out: Annotated[Path, Written(folder=True)] = Field(
        default=Path("runs/fit"), description="new folder for the recognizer"
    )

    @field_validator("head")
    @classmethod
    def _known_head(cls, head: str) -> str:
        if head not in ALL_HEADS:
            raise ValueError(f"no such head; there are {', '.join(ALL_HEADS)}")
        return head

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.labels is None and self.shot is None:
            problems.append("--labels FILE.csv (or --shot K, of class folders) is needed")
        if self.labels is not None and self.shot is not None:
            problems.append("--labels, --shot: name one; labels are given or drawn")
        if self.shot is not None and not self.class_folders:
            problems.append("--shot: draws from class folders; there are none by --class-folders")
        if self.prompts is not None and not self.has_texts:
            problems.append(f"--prompts: has no effect with --head {self.head}; leave it out")
        if self.has_texts and self.preparation not in (None, "none"):
            problems.append(
                f"--preparation {self.preparation}: would move pictures away from the texts that "
                f"--head {self.head} compares them with; leave it out"
            )
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            problems.append(f"--out {self.out}: exists and is not an empty folder; name a new one")
        return problems

    @property
    def has_texts(self) -> bool:
        """Whether the head knows what the classes are called."""
        return self.head in TEXT_HEADS

    @property
    def prepared(self) -> PreparationMode:
        """How embeddings are prepared for the head."""
        return self.preparation or ("none" if self.has_texts else "power")

    def embedding(self, **changes: Any) -> EmbedConfig:
        """The options of `cvgssl embed` that give the embeddings, with `changes`."""
        shared = {name: getattr(self, name) for name in fields_of(EncodingOptions)}
        return EmbedConfig(**shared | changes)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AlarmOptions:
    """When pictures count as changed (camera, lamp, product)."""

    false_alarm_every: int = Field(
        default=PICTURES_BETWEEN,
        ge=100,
        description="least mean number of pictures between two false alarms; with 100000 there is "
        "one among the first 1000 pictures with a probability of 1 % at most",
    )
    pictures_per_part: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="number of consecutive pictures of one coil, sheet or part; only one of them "
        "is compared, to avoid an alarm at each new coil",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WatchedFolder(CheckedOptions):
    """A folder that is watched."""

    watch: Path | None = Field(
        default=None,
        description="classify pictures as they arrive in this folder and below; `predict`: in "
        "place of PICTURES, until Ctrl-C; `station`: by the live version",
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="with --watch: time between two looks at the folder; a picture is "
        "classified when it is the same at both",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.watch is None and self.poll_seconds != 1:
            problems.append("--poll-seconds: has no effect without --watch")
        return problems


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictOptions(CheckedOptions, GpuOption, RuntimeOption, BatchOptions):
    """Which pictures are classified by which recognizer, and how."""

    recognizer: Path = Field(
        description="folder of `cvgssl fit`, run folder of finetune or linear, a .safetensors "
        "file from its weights/, or an .onnx or .xml file of `cvgssl export`, which starts at once "
        "and uses no GPU"
    )
    pictures: tuple[Path, ...] = Field(
        min_length=1, description="picture files, and folders to be searched for pictures"
    )
    draw: int = Field(
        default=1, ge=1, description="which draw of a run of linear or finetune, from 1"
    )
    checkpoint: Checkpoint = "last"
    unknown: bool = Field(
        default=False,
        description='also answer "unknown" for pictures unlike the labelled ones, and "not sure"; '
        "for runs of `cvgssl linear`, folders of `cvgssl fit` and files of these",
    )
    false_rejection_rate: float = Field(
        default=DEFAULT_RATE,
        ge=0,
        lt=1,
        description="with --unknown: share of the pictures of known classes that may be called "
        "unknown; files of `cvgssl export` have that of the default",
    )
    nearest: int = Field(
        default=0,
        ge=0,
        le=MOST_NEAREST,
        description="also name this many labelled pictures, those most like each picture, with "
        "class and similarity (cosine); for folders of `cvgssl fit` and files of them",
    )
    encoder_files: tuple[str, ...] = Field(
        default=(),
        description="for a folder of `cvgssl fit` whose encoder's weights have been moved: the "
        "files",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.false_rejection_rate != DEFAULT_RATE and not self.unknown:
            problems.append("--false-rejection-rate: has no effect without --unknown")
        return problems

    @property
    def rate(self) -> float | None:
        """The false-rejection rate where verdicts are asked for, else None."""
        return self.false_rejection_rate if self.unknown else None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecentreConfig(CheckedOptions, GpuOption, RuntimeOption, BatchOptions):
    """Move a recognizer's train pictures to where a changed lamp or camera shows such pictures.

    By unlabelled pictures from before and after the change: those that `--alarm` remembers, or two
    folders. It helps after blur and noise, and hurts where other kinds of pictures come than
    before, unless a few labels are given; compare both recognizers on pictures with labels.
    """

    recognizer: Path = Field(description="folder of `cvgssl fit`; it stays as it is")
    out: Annotated[Path, Written(folder=True)] = Field(
        description="new folder for the moved recognizer"
    )
    alarm: Path | None = Field(
        default=None,
        description="file of `cvgssl predict --alarm` with this recognizer: pictures before and "
        "since its last alarm",
    )
    before: Path | None = Field(
        default=None, description="instead of --alarm: folder of pictures from before the change"
    )
    after: Path | None = Field(
        default=None,
        description="with --before: folder of pictures from after it, of the same kinds in the "
        "same shares",
    )
    labels: Path | None = Field(
        default=None,
        description="CSV of path,label: pictures since the change that people named, which are "
        "learned, too; three are enough, those that RECOGNIZER is least sure of",
    )
    encoder_files: tuple[str, ...] = Field(
        default=(), description="where the encoder's weights have been moved: the files"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.alarm is None and None in (self.before, self.after):
            problems.append("--alarm FILE (or --before FOLDER --after FOLDER) is needed")
        if self.alarm is not None and (self.before, self.after) != (None, None):
            problems.append("--alarm, --before and --after: name the file or both folders")
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            problems.append(f"OUT {self.out}: exists and is not an empty folder; name a new one")
        return problems
