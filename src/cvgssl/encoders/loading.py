"""Frozen encoders by name: found, read, recognised, built."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from cvgssl.encoders.backbone import TORCHVISION
from cvgssl.encoders.backbone_file import BackboneFile
from cvgssl.encoders.building import encoder_from, random_encoder
from cvgssl.encoders.clip_names import TOWERS, clip_name, clip_tower
from cvgssl.encoders.embedded import EMBEDDED, embedded_guide
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.hub import PREFIX, download
from cvgssl.encoders.inference import arch_of
from cvgssl.encoders.pretrained import read_backbone
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights, weight_files, weights_folder
from cvgssl.runtime.errors import UserError


def load_encoders(
    encoders: Sequence[str | EncoderSpec], folder: Path | None = None, size: int | None = None
) -> list[FrozenEncoder]:
    """The encoders that `--teacher NAME[=FILE][:WEIGHT]` asks for, on the CPU.

    folder: where bare file names and files for a bare NAME are looked for (see `weights_folder`).
    size: side of the pictures that they see instead of their own, pixels.
    A NAME alone takes the one file there that holds this architecture; a CLIP name of which the
    folder has none, and `timm:NAME`, are downloaded; `embedded` is part of the package. Random
    weights only by `NAME=random`. Torch's random numbers are left as they were. Raises UserError
    naming --teacher.
    """
    specs = [parse_encoder(item) if isinstance(item, str) else item for item in encoders]
    if not specs:
        raise UserError("--teacher: at least one is needed")
    for number, spec in enumerate(specs):
        if any((spec.name, spec.file) == (other.name, other.file) for other in specs[:number]):
            raise UserError(f"--teacher {spec}: is given twice; raise its :WEIGHT instead")
    with torch.random.fork_rng(devices=[]):
        return [_load(spec, folder, size) for spec in specs]


def available_clip_encoders(folder: Path | None = None) -> list[EncoderSpec]:
    """CLIP vision towers among the files of the weights folder, by file name."""
    found = []
    for path in weight_files(weights_folder(folder)):
        try:
            file = read_backbone(path)
        except (UserError, OSError):
            continue
        arch = arch_of(file) if file.layout.clip else None
        if arch is not None:
            found.append(EncoderSpec(clip_name(arch), str(path)))
    return found


def _load(spec: EncoderSpec, folder: Path | None, size: int | None) -> FrozenEncoder:
    if spec.name == EMBEDDED:
        if spec.file:
            raise UserError(f"--teacher {spec}: is part of the package; leave out ={spec.file}")
        return embedded_guide(spec.weight, size)
    with naming(spec, "--teacher"):
        if spec.file == RANDOM:
            return random_encoder(spec, _meant(spec)[0], size)
        at = locate(spec, folder)
        return encoder_from(spec, at.arch, at.path, at.found, at.hub, size)


@dataclass(frozen=True)
class Located:
    """Where an encoder's weights lie. hub: timm's name of them, if they are its own."""

    arch: str
    path: Path
    found: BackboneFile
    hub: str | None


def locate(spec: EncoderSpec, folder: Path | None = None) -> Located:
    """The file that `NAME[=FILE]` means, read; see `load_encoders`. Raises UserError."""
    tower = clip_tower(spec.name)
    arch, hub = _meant(spec)
    if spec.file:
        path = find_weights(spec.file, folder)
        return Located(arch, path, read_backbone(path), hub)
    if hub is None:
        matches, others = _in_folder(arch, weights_folder(folder))
        if len(matches) == 1:
            return Located(arch, *matches[0], None)
        if matches or not (tower and tower.hub):
            raise _not_one_file(spec.name, arch, folder, matches, others)
        hub = f"{arch}.{tower.hub}"
    path = download(hub)
    return Located(arch, path, read_backbone(path), hub)


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
    raise UserError(f"neither a CLIP model nor an architecture of timm's{hint}")


def _in_folder(arch: str, folder: Path) -> tuple[list[tuple[Path, BackboneFile]], list[str]]:
    """The files of `folder` that hold `arch`, and in words what the others hold."""
    matches, others = [], []
    for path in weight_files(folder):
        try:
            found = read_backbone(path)
        except (UserError, OSError):
            others.append(f"{path.name} (cannot be read)")
            continue
        held = arch_of(found)
        if held == arch:
            matches.append((path, found))
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
    there = f" (it has {', '.join(others)})" if others else ""
    return UserError(
        f"no file in {weights_folder(folder)} holds {arch}{there}; write {name}=FILE, or "
        f"{PREFIX}NAME to download a model of timm's"
    )


@contextmanager
def naming(spec: EncoderSpec, flag: str) -> Iterator[None]:
    """Errors of the parts in the words of the flag, `--teacher` for example."""
    try:
        yield
    except UserError as error:
        text = str(error).removeprefix("--pretrained ").removeprefix(f"--arch {spec.name}: ")
        raise type(error)(
            f"{flag} {str(spec).lstrip('=')}: {text.replace('--arch ', '')}"
        ) from error
