"""Options of `cvgssl export` and `cvgssl verify`. Imports no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.runtime.options import STRICT, CheckedOptions, Written

ENDING = ".onnx"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportConfig(CheckedOptions):
    """Write a recognizer as one ONNX file, from picture to answer, and check it.

    The file appears only if ONNX Runtime gives the answers of `cvgssl predict` with it.
    """

    recognizer: Path = Field(description="folder of `cvgssl fit`")
    out: Annotated[Path, Written()] = Field(description="file to write, .onnx")
    encoder: tuple[str, ...] = Field(
        default=(), description="where the encoder's weights have been moved: the files"
    )
    check: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="pictures of the recognizer's own pool that are checked, where they still are",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.out.suffix != ENDING:
            problems.append(f"OUT {self.out}: must end in {ENDING}")
        return problems


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VerifyConfig(CheckedOptions):
    """Check on this machine that an exported file answers as when it was made.

    It carries pictures and what `cvgssl predict` said of them.
    """

    file: Path = Field(description="file of `cvgssl export`")
