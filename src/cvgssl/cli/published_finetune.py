"""The published command, `python finetune_and_lincls.py ...`, on top of the package."""

import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig, LinearConfig
from cvgssl.cli.adapt import run_adaptation
from cvgssl.cli.command import Command
from cvgssl.cli.main import guarded
from cvgssl.runtime.options import STRICT, fields_of

# options that linear evaluation does not have, and their defaults
_TUNING = {
    name: field.default
    for name, field in fields_of(FinetuneConfig).items()
    if name not in fields_of(LinearConfig)
}


@dataclass(frozen=True, config=STRICT)
class PublishedConfig(FinetuneConfig):
    """Fine-tune a backbone, or train a linear classifier on its features, as published."""

    builder: Literal["cgssl", "cvgssl"] = Field(
        default="cvgssl", description="how --pretrained was trained; both names mean the same"
    )
    finetune_model: bool | None = Field(
        default=None, description="true: train the whole model; the default unless --softmax-lincls"
    )
    softmax_lincls: bool = Field(
        default=False, description="true: train a linear classifier on the frozen backbone"
    )

    @model_validator(mode="after")
    def _check_mode(self) -> "PublishedConfig":
        if self.finetune_model is not None and self.finetune_model == self.softmax_lincls:
            raise ValueError(
                f"--finetune-model {self.finetune_model} --softmax-lincls {self.softmax_lincls}: "
                "exactly one of them must be true"
            )
        changed = [name for name in _TUNING if getattr(self, name) != _TUNING[name]]
        if self.softmax_lincls and changed:
            flags = ", ".join("--" + name.replace("_", "-") for name in changed)
            raise ValueError(f"{flags}: only with --finetune-model true")
        return self

    def adaptation(self) -> AdaptConfig:
        """The same options as `cvgssl finetune` or `cvgssl linear` would have them."""
        kind = LinearConfig if self.softmax_lincls else FinetuneConfig
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})


COMMAND = Command(PublishedConfig)


def run(argv: Sequence[str], prog: str) -> int:
    """Parse the published flags and do the job."""
    words = [re.sub(r"^--n(?=$|=)", "--num-draws", word) for word in argv]
    config = COMMAND.parse(words, prog)
    again = f"{prog} --softmax_lincls True" if config.softmax_lincls else prog
    return run_adaptation(config.adaptation(), again)


def main() -> int:
    """Entry point of finetune_and_lincls.py."""
    return guarded(run, sys.argv[1:], "finetune_and_lincls.py")
