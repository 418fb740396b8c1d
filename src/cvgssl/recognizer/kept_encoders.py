"""The encoders of a recognizer of `cvgssl fit`: their weights where they are now, checked.

Imports no torch.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.shards import weights_digest
from cvgssl.encoders.weights_folder import weights_folder
from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder_requests import EncoderRequest, request_of, weight_file
from cvgssl.features.record import EncoderRecord
from cvgssl.recognizer.card import KeptEncoder
from cvgssl.recognizer.finding import CARD
from cvgssl.runtime.errors import UserError

log = logging.getLogger(__name__)

_EQUAL_ENOUGH = {"precision", "runtime"}  # facts that may differ from those of fitting


def find_encoders(
    folder: Path, encoders: Sequence[KeptEncoder], files: Sequence[str], options: EmbedConfig
) -> list[EncoderRequest]:
    """The encoders with their weights, from where they were, `folder`, or the moved `files`.

    Raises UserError for weights that are gone or changed.
    """
    places = _find_all(folder, encoders, files)
    return [_request(folder, *each, options) for each in zip(encoders, places, strict=True)]


def _request(
    folder: Path, kept: KeptEncoder, place: Path | None, options: EmbedConfig
) -> EncoderRequest:
    flag = f"{folder}: encoder {kept.record.name}"
    if kept.spec.file == INSTALLED:
        return request_of(kept.spec, weight_file(INSTALLED, flag), flag, options)
    spec = kept.spec if place is None else replace(kept.spec, file=str(place))
    return request_of(spec, place, flag, options)


def check_same(flag: str, before: EncoderRecord, now: EncoderRecord) -> None:
    """Raise UserError when the encoder would give other numbers; a warning for other readers."""
    old, new = _plain(before.facts), _plain(now.facts)
    same = {name for name in old if old[name] == new.get(name)}
    changed = [name for name in old if name not in same | _EQUAL_ENOUGH]
    if "reader" in changed:
        changed.remove("reader")
        log.warning("%s: pictures are read by other versions than when it was fitted", flag)
    if changed:
        raise UserError(
            f"{flag}: gives other numbers than when it was fitted ({', '.join(changed)}); fit "
            f"again ({CARD} says with what)"
        )


def _find_all(
    folder: Path, encoders: Sequence[KeptEncoder], files: Sequence[str]
) -> list[Path | None]:
    """Where the encoders' weights are; None for those that are not a file."""
    wanted = {kept.sha256: kept.record.name for kept in encoders if kept.path is not None}
    moved = dict[str | None, Path]()
    for name in files:
        path = weight_file(name, f"--encoder-files {name}")
        digest = weights_digest(path)
        if digest not in wanted:
            names = ", ".join(f"{name} (sha256 {str(sha)[:8]})" for sha, name in wanted.items())
            raise UserError(
                f"--encoder-files {name}: has sha256 {digest[:8]}; {folder} was fitted with "
                f"{names or 'an encoder that needs no file'}"
            )
        moved[digest] = path
    return [
        None if kept.path is None else moved.get(kept.sha256) or _find(folder, kept)
        for kept in encoders
    ]


def _find(folder: Path, encoder: KeptEncoder) -> Path:
    """The file where it was, in the recognizer's folder, or among the weights."""
    path = encoder.path
    assert path is not None
    remedy = f"name it by --encoder-files FILE, or put it into {folder} or {weights_folder()}"
    places = [
        place
        for place in (path, folder / path.name, weights_folder() / path.name)
        if place.is_file()
    ]
    if not places:
        raise UserError(
            f"{folder}: the weights of {encoder.record.name}, {path}, are gone; {remedy}"
        )
    same = [place for place in places if weights_digest(place) == encoder.sha256]
    if not same:
        raise UserError(
            f"{places[0]}: has changed since {folder} was fitted (sha256 was "
            f"{str(encoder.sha256)[:8]}); fit again, or if you have the old file, {remedy}"
        )
    return same[0]


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain
