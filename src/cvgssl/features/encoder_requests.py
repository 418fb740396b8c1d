"""Encoders as the user names them. Imports no torch: a result in the cache needs none."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic

from cvgssl.encoders.encoder_spec import RANDOM, TAKEN, EncoderSpec, parse_encoder
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.features.config import AUTO, Axes, EmbedConfig
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.options import explain


@dataclass(frozen=True)
class EncoderRequest:
    """An encoder as asked for.

    spec: what `load_encoders` takes; its name is empty when the file is to say the architecture.
    file: its weights, where they are a file that was named.
    flag: for messages.
    config: the command's options, with those that the spec has for itself.
    mirror: axes of pictures [B, C, S, S] that are mirrored before anything else.
    """

    spec: EncoderSpec
    file: Path | None
    flag: str
    config: EmbedConfig
    mirror: Axes = ()

    @property
    def source(self) -> tuple[Hashable, ...]:
        """Weights and options, but for what is taken from them: of others it is another network."""
        weights = self.file.resolve() if self.file else (self.spec.name, self.spec.file)
        return weights, replace(self.config, encoder=(INSTALLED,), pooling=AUTO, layers=())


def requested_encoders(config: EmbedConfig) -> list[EncoderRequest]:
    """The encoders of --encoder; raises UserError naming the flag."""
    requests = [_request_of(text, config) for text in config.encoder]
    sources = [replace(request.spec, weight=1.0) for request in requests]
    for number, request in enumerate(requests):
        if sources[number] in sources[:number]:
            raise UserError(f"{request.flag}: is given twice; raise its :WEIGHT instead")
    return requests


def request_of(
    spec: EncoderSpec, file: Path | None, flag: str, config: EmbedConfig
) -> EncoderRequest:
    """A request with the command's options, but for those of the spec; raises UserError."""
    own = {name: getattr(spec, name) for name in TAKEN if getattr(spec, name)}
    try:
        return EncoderRequest(spec, file, flag, replace(config, **own))
    except pydantic.ValidationError as error:
        raise UserError(f"{flag}: {'; '.join(explain(error))}") from error


def _request_of(text: str, config: EmbedConfig) -> EncoderRequest:
    flag = f"--encoder {text}"
    spec = parse_encoder(text, "--encoder")
    if not spec.file or spec.file == RANDOM:
        return request_of(spec, None, flag, config)
    file = weight_file(spec.file, flag)
    if spec.file != INSTALLED:  # that one is found on any machine, wherever it is there
        spec = replace(spec, file=str(file))
    return request_of(spec, file, flag, config)


def weight_file(named: str, flag: str) -> Path:
    """The weight file that is meant: itself, a bare name's, or a run's; raises UserError."""
    with naming(flag):
        return find_weights(named)
