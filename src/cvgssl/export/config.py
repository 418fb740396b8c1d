"""Options of `cvgssl export` and `cvgssl verify`. Imports no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.recognizer.config import EXPORTED, ONNX_SUFFIX, Checkpoint
from cvgssl.runtime.options import STRICT, CheckedOptions, Written

_CHECKED = 200


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportConfig(CheckedOptions):
    """Write a recognizer as one file, from picture to answer, and check it.

    OUT.onnx is for ONNX Runtime; OUT.xml, with OUT.bin beside it, for OpenVINO. They appear only
    if that gives the answers of `cvgssl predict` with them.
    """

    recognizer: Path = Field(
        description="folder of `cvgssl fit`, run folder of finetune or linear, or a .safetensors "
        "file from its weights/"
    )
    out: Annotated[Path, Written()] = Field(description="file to write, .onnx or .xml")
    draw: int = Field(
        default=1, ge=1, description="which draw of a run of linear or finetune, from 1"
    )
    checkpoint: Checkpoint = "last"
    encoder_files: tuple[str, ...] = Field(
        default=(),
        description="for a folder of `cvgssl fit` whose encoder's weights have been moved: the "
        "files",
    )
    check: int = Field(
        default=_CHECKED,
        ge=0,
        le=1_000_000,
        description="train pictures of a folder of `cvgssl fit` that are checked, where they still "
        "are",
    )

    int8: bool = Field(
        default=False,
        description="OUT.xml with encoders in 8-bit integers, which is smaller, where that leaves "
        "the answers as they are; needs the extra `int8` and the train pictures",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.int8 and self.out.suffix == ONNX_SUFFIX:
            problems.append(f"--int8: is for OpenVINO; OUT {self.out} must end in .xml")
        if self.int8 and self.check != _CHECKED:
            problems.append("--check: has no effect with --int8, which checks more; leave it out")
        if self.out.suffix not in EXPORTED:
            problems.append(f"OUT {self.out}: must end in {' or '.join(EXPORTED)}")
        return problems


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VerifyConfig(CheckedOptions):
    """Check on this machine that an exported file answers as when it was made.

    It carries pictures and what `cvgssl predict` said of them.
    """

    file: Path = Field(description="file of `cvgssl export`")
