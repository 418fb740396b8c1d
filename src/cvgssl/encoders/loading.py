"""Frozen encoders by name: located, read, recognised, built."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone_file import read_backbone
from cvgssl.encoders.building import encoder_from, random_encoder
from cvgssl.encoders.clip_names import clip_name
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.locating import known_arch, locate
from cvgssl.encoders.weights_folder import weight_files, weights_folder
from cvgssl.runtime.errors import UserError, naming


def load_encoders(
    encoders: Sequence[str | EncoderSpec],
    folder: Path | None = None,
    size: int | None = None,
    flag: str = "--teacher",
) -> list[FrozenEncoder]:
    """The encoders that `--teacher NAME[=FILE][:WEIGHT]` asks for, on the CPU.

    folder: where bare file names and files for a bare NAME are looked for (see `weights_folder`).
    size: side of the pictures that they see instead of their own, pixels. flag: for messages.
    A NAME without FILE takes the only file there that holds this architecture; a CLIP name of
    which the folder has none, and `timm:NAME`, are downloaded.
    A FILE without NAME is of the architecture that it says. Random weights only by `NAME=random`.
    Torch's random numbers are left as they were. Raises UserError naming the flag.
    """
    specs = [
        parse_encoder(item, flag, folder) if isinstance(item, str) else item for item in encoders
    ]
    if not specs:
        raise UserError(f"{flag}: at least one is needed")
    for number, spec in enumerate(specs):
        if any(replace(spec, weight=other.weight) == other for other in specs[:number]):
            raise UserError(f"{flag} {spec}: is given twice; raise its :WEIGHT instead")
    loaded = []
    for spec in specs:
        with naming(f"{flag} {spec}"):
            loaded.append(load_frozen_encoder(spec, folder, size))
    return loaded


def load_frozen_encoder(
    spec: EncoderSpec, folder: Path | None = None, size: int | None = None
) -> FrozenEncoder:
    """One encoder, as `load_encoders` gives it; its errors do not repeat what was asked for."""
    size = spec.image_size or size
    with torch.random.fork_rng(devices=[]):
        if spec.name and spec.file == RANDOM:
            return random_encoder(spec, known_arch(spec), size)
        at = locate(spec, folder)
        named = replace(spec, name=spec.name or at.arch)
        return encoder_from(named, at.arch, at.path, at.backbone_file, at.hub, size)


def available_clip_encoders(folder: Path | None = None) -> list[EncoderSpec]:
    """CLIP vision towers among the files of the weights folder, by file name."""
    specs = []
    for path in weight_files(weights_folder(folder)):
        try:
            file = read_backbone(path)
        except (UserError, OSError):
            continue
        arch = arch_of(file) if file.layout.clip else None
        if arch is not None:
            specs.append(EncoderSpec(clip_name(arch), str(path)))
    return specs
