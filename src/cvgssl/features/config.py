"""Options of `cvgssl embed`, and those it shares with `cvgssl fit`: flags, YAML keys, docs, checks.

Imports no torch.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.encoders.encoder_spec import NAMED_BY
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.images.picture_options import BatchOptions, FileOptions, SplitOptions
from cvgssl.runtime.options import STRICT, CheckedOptions, DeviceOptions, RuntimeOption, Written

AUTO = "auto"
POOLS = ("cls", "mean", "max")
ENDINGS = (".npz", ".parquet")
Flips = Literal["none", "horizontal", "both", "rotations"]
SupportFlips = Literal["none", "horizontal", "both"]
Axes = tuple[int, ...]
# of pictures [B, C, S, S] that are mirrored, for each image that is looked at
AXES: dict[Flips, tuple[Axes, ...]] = {
    "none": ((),),
    "horizontal": ((), (3,)),
    "both": ((), (3,), (2,), (2, 3)),
    "rotations": ((), (3,), (2,), (2, 3)),  # and the same of the transposed picture
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncodingOptions(
    CheckedOptions, DeviceOptions, RuntimeOption, FileOptions, BatchOptions, SplitOptions
):
    """Which pictures, which encoders, and what is taken from them."""

    data: Path = Field(
        description="folder with train/CLASS and test/CLASS, one folder of classes, a CSV of "
        "path,label,split, or a folder of unlabelled pictures"
    )
    encoder: tuple[str, ...] = Field(
        default=(INSTALLED,),
        description=f"frozen encoder: {NAMED_BY}; :WEIGHT after it weighs it; several are put side "
        "by side; the default comes with the installation",
    )
    class_folders: bool = Field(
        default=True, description="false: folders are not classes, no picture has a label"
    )
    image_size: int | None = Field(
        default=None,
        ge=16,
        le=2048,
        description="side of the square that encoders see, pixels; left out: their own",
    )
    resize: Literal["auto", "stretch", "pad", "crop"] = Field(
        default="auto",
        description="how a picture that is not square becomes one; auto: as the weights were "
        "fine-tuned, else stretch",
    )
    interpolation: Literal["auto", "bilinear", "bicubic"] = Field(
        default="auto", description="antialiased filter that resizes; auto: the encoder's own"
    )
    pooling: str = Field(
        default=AUTO,
        description="auto: the encoder's own output; or cls, mean, max of its tokens, several "
        "joined by +, such as cls+mean, which then weigh the same",
    )
    layers: tuple[int, ...] = Field(
        default=(),
        description="depths to pool, from 1; -1 is the last; several are put side by side and "
        "weigh the same; left out: the last",
    )
    crops: int = Field(
        default=1,
        ge=1,
        le=64,
        description="average over this many crops of each picture; 1: the whole picture",
    )
    crop_side: float = Field(
        default=0.8, ge=0.1, le=1, description="side of these crops, as a share of the picture's"
    )
    flips: Flips = Field(
        default="none",
        description="average over the picture and its mirror images: horizontal: 2, both (axes): "
        "4, rotations (both axes and quarter turns): 8",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="seed of the split where DATA has none"
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if not self.encoder:
            problems.append("--encoder: name at least one, or leave it out for the default")
        if not set(self.pools) <= set(POOLS) or len(set(self.pools)) < len(self.pools):
            problems.append(
                f"--pooling {self.pooling}: auto, or {', '.join(POOLS)}, each once at most, by +"
            )
        if self.layers and self.pooling == AUTO:
            problems.append("--layers: say with --pooling how to pool them, such as --pooling mean")
        if 0 in self.layers:
            problems.append("--layers 0: layers are numbered from 1; -1 is the last")
        return problems

    @property
    def pools(self) -> tuple[str, ...]:
        """The ways of pooling, side by side; none: the encoder's own output."""
        return () if self.pooling == AUTO else tuple(self.pooling.split("+"))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbedConfig(EncodingOptions):
    """Embed all pictures of a folder once: what frozen encoders say of them, into one file."""

    out: Annotated[Path, Written(folder=None)] = Field(
        default=Path("features.npz"),
        description="file to write, .npz or .parquet; of several processes a folder of parts",
    )
    mirrored: Annotated[Path | None, Written(folder=None)] = Field(
        default=None,
        description="also write what the train pictures look like in mirrors, three images of "
        "each, to this file, for heads that learn from labels alone",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        for flag, path in (("--out", self.out), ("--mirrored", self.mirrored)):
            if path is not None and path.suffix not in ENDINGS:
                problems.append(f"{flag} {path}: must end in {' or '.join(ENDINGS)}")
        if self.mirrored is not None and self.mirrored.resolve() == self.out.resolve():
            problems.append(f"--mirrored {self.mirrored}: is --out, too; name another file")
        if self.mirrored is not None and self.flips in ("both", "rotations"):
            problems.append(f"--mirrored: --flips {self.flips} averages over mirror images")
        return problems
