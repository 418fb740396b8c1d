"""How a frozen encoder is named on the command line. Imports no torch."""

import math
import re
from dataclasses import dataclass

from cvgssl.runtime.errors import UserError

RANDOM = "random"
"""In place of a file: weights are random, for measuring speed only."""

_HOW = "write NAME[=FILE][:WEIGHT], such as ViT-B/32=ViT-B-32.pt:0.5"
# options of an architecture belong to its name: vit_tiny_patch16_224,depth=4
_NAME = re.compile(r"[^=,]*(?:,[A-Za-z_]\w*=[^=,]+)*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.I)


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen encoder as the user names it.

    name: a CLIP model's usual name (see `clip_names`), a timm architecture, `torchvision:NAME`,
        `timm:NAME` or `embedded`.
    file: weights; empty to look for them; `random` for made-up ones.
    weight: of its loss terms, above 0.
    """

    name: str
    file: str = ""
    weight: float = 1.0

    def __str__(self) -> str:
        weight = "" if self.weight == 1 else f":{self.weight:g}"
        return self.name + (f"={self.file}" if self.file else "") + weight


def parse_encoder(text: str) -> EncoderSpec:
    """`NAME[=FILE][:WEIGHT]` to its parts; NAME and FILE may hold colons, FILE also `=`.

    Raises UserError naming --teacher for an empty part and for a weight that is not above 0.
    """
    rest, weight = _split_weight(text.strip(), text)
    match = _NAME.match(rest)
    name = match[0].strip() if match else ""
    after = rest[match.end() :] if match else rest
    if not name:
        raise UserError(f"--teacher {text!r}: the name is missing; {_HOW}")
    if after and not after.startswith("="):
        raise UserError(f"--teacher {text!r}: cannot be understood from {after!r} on; {_HOW}")
    file = after[1:].strip()
    if after and not file:
        raise UserError(f"--teacher {text!r}: the file after '=' is missing; {_HOW}")
    return EncoderSpec(name, file, weight)


def _split_weight(rest: str, text: str) -> tuple[str, float]:
    before, colon, last = rest.rpartition(":")
    if not colon or not _NUMBER.fullmatch(last.strip()):
        if colon and not last.strip():
            raise UserError(f"--teacher {text!r}: the weight after ':' is missing; {_HOW}")
        return rest, 1.0
    weight = float(last)
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(f"--teacher {text!r}: the weight must be a finite number above 0; {_HOW}")
    return before, weight
