"""`cvgssl data synth DST`: generated pictures, to try everything before real ones are at hand."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.runtime.options import Written


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SynthConfig:
    """Generate pictures of hot-rolled steel with six kinds of defect, split into train and test.

    Writes DST/train/CLASS and DST/test/CLASS with 8-bit gray pictures. The same options
    give the same files, byte for byte.
    """

    dst: Annotated[Path, Written(folder=True)] = Field(description="new or empty folder to write")
    per_class: int = Field(300, ge=2, le=1_000_000, description="pictures of each class")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="another seed gives other pictures")
    image_size: int = Field(200, ge=32, le=1024, description="side of a picture, pixels")
    test_fraction: float = Field(0.3, gt=0, lt=1, description="share of each class put into test/")
    format: Literal["bmp", "png"] = Field("bmp", description="file format")


COMMAND = Command(SynthConfig, positional=("dst",))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the command; 0 when everything was written."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.images.surfaces import KINDS, synthesize

    synthesize(
        config.dst,
        config.per_class,
        config.seed,
        config.image_size,
        config.test_fraction,
        config.format,
        workers=_cores(),
    )
    print(f"{len(KINDS) * config.per_class} pictures of {len(KINDS)} classes in {config.dst}")
    return 0


def _cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
