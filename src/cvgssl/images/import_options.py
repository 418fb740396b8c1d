"""Options of `cvgssl data import`: flags, YAML keys, docs, checks. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import Written

DatasetName = Literal["neu-cls", "neu-det", "x-sdd", "gc10-det"]
Boxes = Literal["whole", "crop"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImportConfig(SizeLimit):
    """Bring a public data set, as distributed, to OUT/train/CLASS and OUT/test/CLASS.

    NEU-CLS, NEU-DET and X-SDD are split by a list that comes with cvgssl, so that two people get
    the same split; GC10-DET has no customary one and is split by the series in its
    file names. Exit code 1 when pictures of the list are missing from SRC.
    """

    dataset: DatasetName = Field(description="which data set SRC is")
    src: Path = Field(description="the unpacked data set, in any nesting of folders")
    out: Annotated[Path, Written(folder=True)] = Field(description="new or empty folder to write")
    boxes: Boxes = Field(
        "whole",
        description="whole: pictures unchanged, of the class with the largest total box area; "
        "crop: every box as a PNG",
    )
    crop_margin: float = Field(
        0.1, ge=0, le=5, description="crops are wider by this share of the box on each side"
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="share of every class for testing (gc10-det)"
    )
    seed: int = Field(0, ge=0, description="seed of the split (gc10-det)")
