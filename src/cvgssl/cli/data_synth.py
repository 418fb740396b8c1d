"""`cvgssl data synth OUT`: generated pictures, to try everything before real ones are at hand."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.images.picture_options import ImageFormat
from cvgssl.runtime.options import STRICT, CheckedOptions, Written

_PER_CLASS = 300
_PARTS = 2000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlantOptions:
    """A plant: mostly good parts, small defects."""

    good_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the parts that are good, a class of its own: coils, light, brushing, "
        "oil and water differ as on the others; the kinds of defect get long-tailed numbers (5 of "
        "each, the rest falls by 0.6 from kind to kind; the seed draws which are rare), and all "
        "classes share coils; 0: six kinds alike, no good parts",
    )
    parts: int | None = Field(
        None,
        ge=1,
        le=6_000_000,
        description=f"parts in all, with --good-share; at least 5 per class (default: {_PARTS})",
    )
    defect_area: float = Field(
        1.0,
        ge=0.005,
        le=1,
        description="share of the picture that a defect's box covers, about; 1: defects fill it",
    )
    defects_per_picture: int = Field(
        1,
        ge=1,
        le=10,
        description="a defective part has 1 to this many defects of any kinds, where there is "
        "room; its class is that of the largest",
    )
    exposures: int = Field(
        1,
        ge=1,
        le=100,
        description="pictures of each part, all in one split: other brightness, contrast, light "
        "and noise, shifted a little",
    )


@dataclass(frozen=True, config=STRICT)
class SynthConfig(PlantOptions, CheckedOptions):
    """Generate pictures of hot-rolled steel with six kinds of defect, split into train and test.

    Writes OUT/train/CLASS and OUT/test/CLASS with 8-bit gray pictures. The same options
    give the same files, byte for byte. With any option of a plant, OUT also has parts.csv
    (path,label,part,exposure) and boxes.csv (path,label,x_min,y_min,x_max,y_max: pixels from 0,
    the last two beyond the defect; a row for each).
    """

    out: Annotated[Path, Written(folder=True)] = Field(description="new or empty folder to write")
    per_class: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description=f"parts of each kind of defect, without --good-share (default: {_PER_CLASS})",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="another seed gives other pictures")
    image_size: int = Field(200, ge=32, le=1024, description="side of a picture, pixels")
    test_fraction: float = Field(0.3, gt=0, lt=1, description="share of each class put into test/")
    format: ImageFormat = Field("bmp", description="file format")

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.good_share and self.per_class is not None:
            problems.append("--per-class: leave it out with --good-share, which takes --parts")
        if not self.good_share and self.parts is not None:
            problems.append("--parts needs --good-share; without it, give --per-class")
        if self.defects_per_picture > 1 and self.defect_area == 1:
            problems.append("--defects-per-picture needs a --defect-area below 1, such as 0.05")
        return problems


COMMAND = Command(SynthConfig, positional=("out",))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the command; 0 when everything was written."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.images.surfaces import Plant, synthesize

    counts = synthesize(
        config.out,
        config.per_class or _PER_CLASS,
        config.seed,
        config.image_size,
        config.test_fraction,
        config.format,
        workers=_cores(),
        plant=Plant(
            config.good_share,
            config.parts or _PARTS,
            config.defect_area,
            config.defects_per_picture,
            config.exposures,
        ),
    )
    print(f"{sum(counts.values())} pictures of {len(counts)} classes in {config.out}")
    if config.good_share:
        print(", ".join(f"{count} {label}" for label, count in counts.items()))
    return 0


def _cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
