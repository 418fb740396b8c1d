"""Encoders as the user names them. Imports no torch: a result in the cache needs none."""

from dataclasses import dataclass
from pathlib import Path

from cvgssl.encoders.encoder_spec import EncoderSpec, parse_encoder
from cvgssl.encoders.shards import MAIN_FILES, main_file
from cvgssl.encoders.weights_folder import ENDINGS, find_weights
from cvgssl.features.config import EmbedConfig
from cvgssl.runtime.errors import UserError

_IN_RUNS = ("backbone.safetensors", "weights/run_1.safetensors")


@dataclass(frozen=True)
class EncoderRequest:
    """An encoder as asked for.

    spec: what `load_encoders` takes; its name is empty when the file is to say the architecture.
    file: its weights, where they are a file that was named.
    flag: for messages.
    """

    spec: EncoderSpec
    file: Path | None
    flag: str


def requested_encoders(config: EmbedConfig) -> list[EncoderRequest]:
    """The encoders of --encoder; raises UserError naming the flag."""
    found = [_request_of(text) for text in config.encoder]
    for number, one in enumerate(found):
        if any(
            (one.spec.name, one.spec.file) == (o.spec.name, o.spec.file) for o in found[:number]
        ):
            raise UserError(f"{one.flag}: is given twice; raise its :WEIGHT instead")
    return found


def _request_of(text: str) -> EncoderRequest:
    flag = f"--encoder {text}"
    try:
        spec = parse_encoder(text)
    except UserError as error:
        raise UserError(str(error).replace("--teacher", "--encoder", 1)) from error
    if not spec.file and _names_a_file(spec.name):
        file = weight_file(spec.name, flag)
        return EncoderRequest(EncoderSpec("", str(file), spec.weight), file, flag)
    if spec.file and spec.file != "random":
        file = weight_file(spec.file, flag)
        return EncoderRequest(EncoderSpec(spec.name, str(file), spec.weight), file, flag)
    return EncoderRequest(spec, None, flag)


def _names_a_file(name: str) -> bool:
    return name.lower().endswith(ENDINGS) or _inside(Path(name).expanduser()) is not None


def _inside(folder: Path) -> Path | None:
    """The weights of the run, or of the model of transformers, that `folder` is of, if any."""
    run = next((folder / name for name in _IN_RUNS if (folder / name).is_file()), None)
    return run or main_file(folder)


def weight_file(named: str, flag: str) -> Path:
    """The weight file that is meant: itself, a bare name's, or a run's."""
    path = Path(named).expanduser()
    if path.is_dir():
        inside = _inside(path)
        if inside is None:
            names = " or ".join((*_IN_RUNS, MAIN_FILES[0]))
            raise UserError(f"{flag}: is a folder without {names}; name a file")
        return inside
    try:
        return find_weights(path)
    except UserError as error:
        raise UserError(str(error).replace(f"--pretrained {path}", flag, 1)) from error
