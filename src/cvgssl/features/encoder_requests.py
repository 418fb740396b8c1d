"""Encoders as the user names them. Imports no torch: a result in the cache needs none."""

from dataclasses import dataclass, replace
from pathlib import Path

from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.features.config import EmbedConfig
from cvgssl.runtime.errors import UserError, naming


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
    requests = [_request_of(text) for text in config.encoder]
    sources = [(request.spec.name, request.spec.file) for request in requests]
    for number, request in enumerate(requests):
        if sources[number] in sources[:number]:
            raise UserError(f"{request.flag}: is given twice; raise its :WEIGHT instead")
    return requests


def _request_of(text: str) -> EncoderRequest:
    flag = f"--encoder {text}"
    spec = parse_encoder(text, "--encoder")
    if not spec.file or spec.file == RANDOM:
        return EncoderRequest(spec, None, flag)
    file = weight_file(spec.file, flag)
    if spec.file == INSTALLED:  # found on any machine, wherever it is there
        return EncoderRequest(spec, file, flag)
    return EncoderRequest(replace(spec, file=str(file)), file, flag)


def weight_file(named: str, flag: str) -> Path:
    """The weight file that is meant: itself, a bare name's, or a run's; raises UserError."""
    with naming(flag):
        return find_weights(named)
