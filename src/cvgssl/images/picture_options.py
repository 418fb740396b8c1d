"""Options that say which pictures a job reads and how. Imports no torch."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.images.geometry import (
    LARGEST_MEGAPIXELS,
    MAX_MEGAPIXELS,
    Geometry,
    Interpolation,
    ResizeMode,
)
from cvgssl.runtime.options import STRICT

ImageFormat = Literal["bmp", "png"]
"""Of the files that generated pictures are written into."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SizeLimit:
    """How picture files are read.

    Dataclasses with the same first line are one group of `--help`; this is what everything has that
    reads pictures.
    """

    max_megapixels: int = Field(
        default=MAX_MEGAPIXELS,
        ge=1,
        le=LARGEST_MEGAPIXELS,
        description="millions of pixels of the largest picture that is read; larger ones are "
        "unreadable",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DecodingOptions(SizeLimit):
    """How picture files are read.

    How many at a time, and what happens to those that cannot be decoded.
    """

    skip_corrupt: bool = Field(default=False, description="leave unreadable pictures out and go on")
    workers: int = Field(
        default=0, ge=0, description="threads that decode pictures; 0: one per core"
    )


AS_USUAL = DecodingOptions()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BatchOptions(DecodingOptions):
    """How picture files are read.

    The same for jobs that have few pictures in memory at a time.
    """

    batch_size: int = Field(default=64, ge=1, description="pictures that a network gets at once")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitOptions:
    """How a data set without a split of its own is split."""

    test_fraction: float = Field(
        default=0.3, gt=0, lt=1, description="share of test pictures when DATA has no test split"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FileOptions(DecodingOptions):
    """How picture files are read.

    Which of them, and their white level.
    """

    data: Path = Field(
        description="folder with train/CLASS and test/CLASS, one folder of classes, or a CSV of "
        "path,label,split"
    )
    bit_depth: int = Field(
        default=16, ge=8, le=16, description="white level of 16-bit files, in bits"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PictureOptions(FileOptions):
    """Which pictures, and how files of any size become squares."""

    image_size: int = Field(
        default=224,
        ge=16,
        le=2048,
        description="side of the square that pictures are resized to, pixels",
    )
    resize: ResizeMode = Field(
        default="stretch", description="how a picture that is not square becomes one"
    )
    interpolation: Interpolation = Field(
        default="bilinear", description="antialiased filter that resizes pictures"
    )

    @property
    def geometry(self) -> Geometry:
        """The steps between a file and a square picture."""
        return Geometry(self.image_size, self.resize, self.interpolation, self.bit_depth)
