"""The published pre-training command, `python train.py ...`, on top of the package."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.cli.main import guarded
from cvgssl.cli.pretrain import run_pretraining
from cvgssl.pretrain.config import BankSize, Guidance, PretrainConfig, pretrain_config
from cvgssl.pretrain.methods.registry import options_read
from cvgssl.runtime.options import STRICT, Written


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PublishedTrainConfig(PretrainConfig):
    """Pre-train a backbone guided by CLIP vision encoders, as published."""

    guidance: Guidance = "published"
    bank: BankSize = Field(
        default=0, ge=0, le=1000, description="views stored per picture, as `cvgssl pretrain` has"
    )
    save: Annotated[Path | None, Written(folder=True)] = Field(
        default=None, description="folder for checkpoints; same as --out"
    )
    multi_crop: bool = Field(
        default=True, description="false: one strong view, of the first kind of --nmb-crops"
    )

    def pretraining(self) -> PretrainConfig:
        """The same options as `cvgssl pretrain` would have them."""
        values = {field.name: getattr(self, field.name) for field in fields(PretrainConfig)}
        values["out"] = self.save or self.out
        # these have other defaults here, which a method that does not read them would refuse
        for name in {"guidance", "bank"} - options_read(self):
            del values[name]
        if not self.multi_crop:
            kinds = ("size_crops", "min_scale_crops", "max_scale_crops")
            values |= {"nmb_crops": (1,)} | {name: values[name][:1] for name in kinds}
        return pretrain_config()(**values)


COMMAND = Command(PublishedTrainConfig)


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the published flags and do the job."""
    return run_pretraining(COMMAND.parse(argv, prog).pretraining(), prog)


def main() -> int:
    """Entry point of train.py."""
    return guarded(run, sys.argv[1:], "train.py")
