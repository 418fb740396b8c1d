"""How a frozen encoder is named on the command line. Imports no torch."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from cvgssl.encoders.weights_folder import ENDINGS, is_weights
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

RANDOM = "random"
"""In place of a file: weights are random, for measuring speed only."""

_HOW = "write NAME[=FILE][:WEIGHT], such as ViT-B/32=ViT-B-32.pt:0.5, or FILE[:WEIGHT]"
# options of an architecture belong to its name: vit_tiny_patch16_224,depth=4
_NAME = re.compile(r"[^=,]*(?:,[A-Za-z_]\w*=[^=,]+)*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.I)


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen encoder as the user names it.

    name: a CLIP model's usual name (see `clip_names`), a timm architecture, `torchvision:NAME`,
        `timm:NAME` or `embedded`; empty where the file is to say the architecture.
    file: weights, or the folder of a run; empty to look for them; `random` for made-up ones.
    weight: of its loss terms, above 0.
    """

    name: str
    file: str = ""
    weight: float = 1.0

    def __str__(self) -> str:
        weight = "" if self.weight == 1 else f":{self.weight:g}"
        return "=".join(part for part in (self.name, self.file) if part) + weight


def parse_encoder(text: str, flag: str, folder: Path | None = None) -> EncoderSpec:
    """`NAME[=FILE][:WEIGHT]` or `FILE[:WEIGHT]` to its parts.

    What is there wins over this grammar: a weight file, or a run's folder, may have any of `=`,
    `,` and `:` in its path. NAME and FILE may hold colons, FILE also `=`.
    flag: for messages, such as `--encoder`. folder: of weights, see `weights_folder`.
    Raises UserError for an empty part and for a weight that is not above 0.
    """
    notation = text.strip()
    where = f"{flag} {one_line(repr(text))}"
    if is_weights(notation, folder):
        return _file(notation)
    before, weight = _split_weight(notation)
    if weight and is_weights(before.strip(), folder):
        return _file(before.strip(), _checked(weight, where))
    match = _NAME.match(notation)
    file = notation[match.end() + 1 :].strip() if match else ""
    if match and file and notation[match.end()] == "=" and is_weights(file, folder):
        return EncoderSpec(match[0].strip(), file)
    if before != notation and not weight:
        raise UserError(f"{where}: the weight after ':' is missing; {_HOW}")
    name, file = _split_file(before, where)
    factor = _checked(weight, where) if weight else 1.0
    if not file and name.lower().endswith(ENDINGS):
        return _file(name, factor)  # the error then says where it was looked for
    return EncoderSpec(name, file, factor)


def _file(path: str, weight: float = 1.0) -> EncoderSpec:
    return EncoderSpec("", f"./{path}" if path == RANDOM else path, weight)


def _split_file(rest: str, where: str) -> tuple[str, str]:
    match = _NAME.match(rest)
    name = match[0].strip() if match else ""
    after = rest[match.end() :] if match else rest
    if not name:
        raise UserError(f"{where}: the name is missing; {_HOW}")
    if after and not after.startswith("="):
        raise UserError(f"{where}: cannot be understood from {one_line(repr(after))} on; {_HOW}")
    file = after[1:].strip()
    if after and not file:
        raise UserError(f"{where}: the file after '=' is missing; {_HOW}")
    return name, file


def _split_weight(notation: str) -> tuple[str, str]:
    """Everything before `:WEIGHT`, and WEIGHT; empty without one, or with nothing after `:`."""
    before, colon, last = notation.rpartition(":")
    if colon and not last.strip():
        return before, ""
    return (before, last.strip()) if _NUMBER.fullmatch(last.strip()) and colon else (notation, "")


def _checked(weight: str, where: str) -> float:
    number = float(weight)
    if not (math.isfinite(number) and number > 0):
        raise UserError(f"{where}: the weight must be a finite number above 0; {_HOW}")
    return number
