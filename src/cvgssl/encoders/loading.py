"""Frozen encoders by name: located, read, recognised, built."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone import TORCHVISION
from cvgssl.encoders.backbone_file import BackboneFile
from cvgssl.encoders.building import encoder_from, random_encoder
from cvgssl.encoders.clip_names import TOWERS, clip_name, clip_tower
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.hub import PREFIX, download
from cvgssl.encoders.pretrained import read_backbone
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights, weight_files, weights_folder
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
            return random_encoder(spec, _meant(spec)[0], size)
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


@dataclass(frozen=True)
class WeightsLocation:
    """Where an encoder's weights are. hub: timm's name of them, if they are its own."""

    arch: str
    path: Path
    backbone_file: BackboneFile
    hub: str | None


def locate(spec: EncoderSpec, folder: Path | None = None) -> WeightsLocation:
    """The file that `NAME[=FILE]` or `FILE` means, read; see `load_encoders`. Raises UserError."""
    if not spec.name:
        return _located_by_file(find_weights(spec.file, folder))
    tower = clip_tower(spec.name)
    arch, hub = _meant(spec)
    if spec.file:
        path = find_weights(spec.file, folder)
        return WeightsLocation(arch, path, read_backbone(path), hub)
    if hub is None:
        matches, others = _in_folder(arch, weights_folder(folder))
        if len(matches) == 1:
            return WeightsLocation(arch, *matches[0], None)
        if matches or not (tower and tower.hub):
            raise _not_one_file(spec.name, arch, folder, matches, others)
        hub = f"{arch}.{tower.hub}"
    path = download(hub)
    return WeightsLocation(arch, path, read_backbone(path), hub)


def _located_by_file(path: Path) -> WeightsLocation:
    file = read_backbone(path)
    arch = arch_of(file)
    if not arch:
        raise UserError("does not state its architecture; give it as NAME=FILE")
    return WeightsLocation(arch, path, file, None)


def _meant(spec: EncoderSpec) -> tuple[str, str | None]:
    """Architecture, and timm's name of the weights where that is what is named."""
    tower = clip_tower(spec.name)
    hub = spec.name.removeprefix(PREFIX) if spec.name.startswith(PREFIX) else None
    arch = tower.arch if tower else spec.name
    arch = hub.partition(".")[0] if hub else arch
    _check_known(arch)
    return arch, hub


def _check_known(arch: str) -> None:
    name = arch.partition(",")[0]
    if arch.startswith(TORCHVISION) or timm.is_model(name):
        return
    known = [*TOWERS, *timm.list_models()]
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    raise UserError(f"not a file, a run folder, a CLIP model or an architecture of timm's{hint}")


def _in_folder(arch: str, folder: Path) -> tuple[list[tuple[Path, BackboneFile]], list[str]]:
    """The files of `folder` that hold `arch`, and texts that say what the others hold."""
    matches, others = [], []
    for path in weight_files(folder):
        try:
            file = read_backbone(path)
        except (UserError, OSError):
            others.append(f"{path.name} (cannot be read)")
            continue
        held = arch_of(file)
        if held == arch:
            matches.append((path, file))
        else:
            others.append(f"{path.name} ({held or 'architecture not certain'})")
    return matches, others


def _not_one_file(
    name: str,
    arch: str,
    folder: Path | None,
    matches: list[tuple[Path, BackboneFile]],
    others: list[str],
) -> UserError:
    if matches:
        names = ", ".join(path.name for path, _ in matches)
        return UserError(f"several files hold {arch}: {names}; write {name}=FILE")
    listed = f" (it has {', '.join(others)})" if others else ""
    return UserError(
        f"no file in {weights_folder(folder)} holds {arch}{listed}; write {name}=FILE, or "
        f"{PREFIX}NAME to download a model of timm's"
    )
