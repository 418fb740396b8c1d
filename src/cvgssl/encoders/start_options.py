"""Options that say which network is trained and where its weights begin. Imports no torch."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from cvgssl.encoders.encoder_spec import NAMED_BY, TAKEN, EncoderSpec, parse_encoder
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import STRICT, CheckedOptions
from cvgssl.runtime.parsing import one_line

FLAG = "--pretrained"


def parse_start(text: str, folder: Path | None = None) -> EncoderSpec:
    """What `--pretrained` names, in the grammar of `--encoder`; raises UserError.

    What `--encoder` says beside a network and its weights has no effect here, and is an error.
    """
    spec = parse_encoder(text, FLAG, folder)
    beside = [name for name in TAKEN if getattr(spec, name)] + [":WEIGHT"] * (spec.weight != 1)
    if beside:
        raise UserError(
            f"{FLAG} {one_line(repr(text))}: {', '.join(beside)} has no effect where training "
            "starts; leave it out"
        )
    return spec


def check_arch(spec: EncoderSpec, arch: str) -> None:
    """Raise UserError where `NAME=FILE` names another architecture than `--arch`.

    `arch` may have options of which NAME says nothing. `timm:NAME` without FILE says which weights
    are downloaded, and those fit other sizes of the architecture, too.
    """
    named = spec.arch
    if named and (spec.file or not spec.hub) and named not in (arch, arch.partition(",")[0]):
        raise UserError(f"{FLAG} {spec}: names {named}, --arch is {arch}; leave one of them out")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StartOptions(CheckedOptions):
    """What is trained, and the weights that it starts from."""

    arch: str = Field(
        default="resnet18",
        min_length=1,
        description="backbone: any timm model, such as resnet50, or torchvision:NAME; left out: "
        "that of a NAME in --pretrained",
    )
    pretrained: str = Field(
        default="",
        description=f"weights to start from: {NAMED_BY}; empty starts from random weights",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_arch(cls, given: Any) -> Any:
        """Put the architecture that --pretrained names where --arch is not given."""
        values = given.kwargs or {} if isinstance(given, ArgsKwargs) else given
        if not isinstance(values, dict) or "arch" in values:
            return given
        try:
            named = parse_start(str(values.get("pretrained") or "")).arch
        except UserError:  # also of an empty one; `_problems` tells what is wrong
            return given
        return {**values, "arch": named} if named else given

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.pretrained:
            try:
                check_arch(parse_start(self.pretrained), self.arch)
            except UserError as error:
                problems.append(str(error))
        return problems
