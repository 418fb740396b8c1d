"""`cvgssl weights list`: the files in the weights folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic
from pydantic import ConfigDict, Field

from cvgssl.cli.command import Command
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.options import Written
from cvgssl.runtime.parsing import printable

if TYPE_CHECKING:
    from cvgssl.encoders.inspection import WeightsInfo


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WeightsConfig:
    """Show the weight files that a bare name given to --pretrained finds."""

    folder: Path | None = Field(
        None, description="folder to look into; default: CVGSSL_WEIGHTS, else pretrained"
    )
    json: Annotated[str | None, Written()] = Field(
        None,
        description="also write everything as JSON to this file; - is standard output",
    )


COMMAND = Command(WeightsConfig, positional=("folder",))


def run(argv: Sequence[str], prog: str) -> int:
    """List the folder; unreadable files are shown with their reason."""
    options = COMMAND.parse(argv, prog)
    from cvgssl.encoders.weights_folder import weight_files, weights_folder

    folder = weights_folder(options.folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; make it, or set CVGSSL_WEIGHTS to yours")
    files = weight_files(folder)
    from cvgssl.encoders.inspection import inspect_weights

    infos = [inspect_weights(file) for file in files]
    records = [asdict(info) for info in infos]
    if options.json == "-":
        print(json.dumps(records, indent=2, ensure_ascii=False))
        return 0
    if options.json:
        write_json(Path(options.json), records)
    print(f"{len(infos)} weight files in {folder}")
    for info in infos:
        print(_describe(info))
    return 0


def _describe(info: "WeightsInfo") -> str:
    if info.problem:
        return f"\n{printable(info.file)}\n  cannot be read: {printable(info.problem)}"
    size = f"{info.tensors} tensors, {(info.parameters or 0) / 1e6:.2f} million numbers"
    lines = [
        info.file,
        f"  architecture   {info.arch or 'unknown'}",
        f"  layout         {info.layout}" + (f", its {info.network}" if info.network else ""),
        f"  backbone       {size}",
        f"  sha256         {(info.sha256 or '')[:8]}",
        f"  preprocessing  {_preprocessing(info)}",
    ]
    return "\n" + "\n".join(map(printable, lines))


def _preprocessing(info: "WeightsInfo") -> str:
    if info.normalization is None:
        return "unknown"
    mean, std = (
        " ".join(f"{value:.4g}" for value in values)
        for values in (info.normalization.mean, info.normalization.std)
    )
    size = f", {info.size} px {info.interpolation}" if info.size else ""
    return f"mean {mean}, std {std}{size}"
