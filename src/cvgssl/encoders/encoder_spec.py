"""How a frozen encoder is named on the command line. Imports no torch."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from cvgssl.encoders.clip_names import clip_tower
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.weights_folder import ENDINGS, is_weights, weights_folder
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

RANDOM = "random"
"""In place of a file: weights are random, for measuring speed only."""

PREFIX = "timm:"
"""Before a name: these weights of timm's, downloaded where no FILE is given."""

NAMED_BY = (
    "a weight file (a path, or a bare name in pretrained/ or $CVGSSL_WEIGHTS), a run folder, or "
    "NAME[=FILE], where NAME is that of a CLIP or timm model, torchvision:NAME, or timm:NAME, "
    "which is downloaded"
)
"""What help texts of --encoder, --teacher and --pretrained say of their grammar."""

_HOW = "write NAME[=FILE][:WEIGHT], such as ViT-B/32=ViT-B-32.pt:0.5, or FILE[:WEIGHT]"
# options after NAME that say what is taken from an encoder; all others are the architecture's
TAKEN = ("pooling", "layers", "image_size")
# options of an architecture belong to its name: vit_tiny_patch16_224,depth=4
_NAME = re.compile(r"[^=,]*(?:,[A-Za-z_]\w*=[^=,]+)*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.I)


@dataclass(frozen=True)
class EncoderSpec:
    """A frozen encoder as the user names it.

    name: a CLIP model's usual name (see `clip_names`), a timm architecture, `torchvision:NAME`
        or `timm:NAME`; empty where the file is to say the architecture.
    file: weights, or the folder of a run; empty to look for them; `random` for made-up ones.
    weight: of its loss terms, above 0.
    pooling, layers, image_size: what is taken from it where that differs from the command's
        options of these names; empty or None where it does not.
    """

    name: str
    file: str = ""
    weight: float = 1.0
    pooling: str = ""
    layers: tuple[int, ...] = ()
    image_size: int | None = None

    @property
    def label(self) -> str:
        """The name and what is taken, in the notation of the command line."""
        layers = "+".join(map(str, self.layers))
        taken = {"pooling": self.pooling, "layers": layers, "image_size": self.image_size}
        return ",".join([self.name, *(f"{key}={value}" for key, value in taken.items() if value)])

    @property
    def hub(self) -> str | None:
        """Timm's name of the weights, where that is what is named."""
        return self.name.removeprefix(PREFIX) if self.name.startswith(PREFIX) else None

    @property
    def arch(self) -> str:
        """The architecture that the name means, known or not; empty without a name."""
        tower = clip_tower(self.name)
        return tower.arch if tower else self.hub.partition(".")[0] if self.hub else self.name

    def __str__(self) -> str:
        weight = "" if self.weight == 1 else f":{self.weight:g}"
        return "=".join(part for part in (self.label, self.file) if part) + weight


def parse_encoder(text: str, flag: str, folder: Path | None = None) -> EncoderSpec:
    """`NAME[=FILE][:WEIGHT]` or `FILE[:WEIGHT]` to its parts.

    What is there wins over this grammar: a weight file, or a run's folder, may have any of `=`,
    `,` and `:` in its path. NAME and FILE may hold colons, FILE also `=`.
    After NAME may follow `,pooling=cls+mean`, `,layers=6+9+12` and `,image_size=448` for what is
    taken from this encoder, and options of its architecture.
    flag: for messages, such as `--encoder`. folder: of weights, see `weights_folder`.
    Raises UserError for an empty part and for a weight that is not above 0.
    """
    return _with_taken(_parse(text, flag, folder), f"{flag} {one_line(repr(text))}")


def with_whole_path(text: str) -> str:
    """The same encoder for a command that begins in another working directory.

    What names no file of here, and what cannot be understood, stays as it is.
    """
    try:
        spec = parse_encoder(text, "--encoder")
        at = text.rfind(spec.file)
        if spec.file in ("", RANDOM, INSTALLED) or at < 0:
            return text
        path = Path(spec.file).expanduser()
        if not path.exists() and len(path.parts) == 1:
            path = weights_folder() / path
        whole = str(path.absolute())
        made = text[:at] + whole + text[at + len(spec.file) :]
        # a file that is not there, or whose name comes twice in the text
        is_same = parse_encoder(made, "--encoder") == replace(spec, file=whole)
        return made if is_same and path.exists() else text
    except (UserError, OSError):
        return text  # it is told when the encoder is opened


def _parse(text: str, flag: str, folder: Path | None) -> EncoderSpec:
    """The parts, with all options in the name."""
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


def _with_taken(spec: EncoderSpec, where: str) -> EncoderSpec:
    """The spec with options of `TAKEN` moved from its name to their fields."""
    name, *options = spec.name.split(",")
    pairs = [tuple(option.split("=", 1)) for option in options]
    taken = {key: value.strip() for key, value in pairs if key in TAKEN}
    if not taken:
        return spec if name != INSTALLED or spec.file else replace(spec, file=INSTALLED)
    kept = [name, *(f"{key}={value}" for key, value in pairs if key not in TAKEN)]
    file = spec.file or (INSTALLED if kept == [INSTALLED] else "")
    try:
        layers = tuple(int(number) for number in taken.get("layers", "").split("+") if number)
        size = int(taken["image_size"]) if "image_size" in taken else None
    except ValueError:
        raise UserError(
            f"{where}: write layers=6+9+12 with whole numbers, and image_size=448"
        ) from None
    name = ",".join(kept)
    return EncoderSpec(name, file, spec.weight, taken.get("pooling", ""), layers, size)


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
