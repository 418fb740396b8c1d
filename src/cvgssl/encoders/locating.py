"""Where the weights are that an encoder's name or file means, and what they hold."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone import TORCHVISION
from cvgssl.encoders.backbone_file import BackboneFile, read_backbone
from cvgssl.encoders.clip_names import TOWERS, clip_tower
from cvgssl.encoders.encoder_spec import PREFIX, EncoderSpec
from cvgssl.encoders.hub import download
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights, weight_files, weights_folder
from cvgssl.runtime.errors import UserError


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
    arch, hub = known_arch(spec), spec.hub
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


def known_arch(spec: EncoderSpec) -> str:
    """The architecture that is named; raises UserError for one that nobody knows."""
    arch = spec.arch
    name = arch.partition(",")[0]
    if arch.startswith(TORCHVISION) or timm.is_model(name):
        return arch
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
