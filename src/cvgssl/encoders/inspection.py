"""What a weight file holds, without building its model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone_file import find_backbone, read_weights, without_weights
from cvgssl.encoders.normalization import IMAGENET, Normalization
from cvgssl.encoders.shards import parts, weights_digest
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError

_CLASSIFIERS = ("classifier.", "fc.", "head.", "head_dist.")


@dataclass(frozen=True)
class WeightsInfo:
    """One weight file.

    arch: for `--arch`; None when names and shapes do not decide it.
    network: which copy is read of a checkpoint that holds several (`teacher`), else None.
    tensors, parameters: of the backbone, without heads and text towers; buffers count.
    size, interpolation: pixels and filter that the weights were trained with, as the files beside
        them say, else as timm knows it of the architecture.
    problem: why the file cannot be read, else None.
    """

    file: str
    bytes: int
    sha256: str | None = None
    layout: str | None = None
    network: str | None = None
    arch: str | None = None
    tensors: int | None = None
    parameters: int | None = None
    normalization: Normalization | None = None
    size: int | None = None
    interpolation: str | None = None
    problem: str | None = None


def inspect_weights(path: Path) -> WeightsInfo:
    """Describe a file; one that cannot be read is described by its problem."""
    try:
        contents = read_weights(path)
        backbone_file = find_backbone(contents)
        if backbone_file is None:
            raise UserError(f"{path}: {without_weights(contents)}")
        sha256 = weights_digest(path)
    except (UserError, OSError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        return WeightsInfo(path.name, path.stat().st_size, problem=reason)
    arch = arch_of(backbone_file)
    backbone = [t for name, t in backbone_file.weights.items() if not name.startswith(_CLASSIFIERS)]
    config = _config(arch)
    described = backbone_file.described
    known = Normalization(tuple(config["mean"]), tuple(config["std"])) if config else None
    return WeightsInfo(
        file=path.name,
        bytes=sum(part.stat().st_size for part in parts(path)),
        sha256=sha256,
        layout=backbone_file.layout.name,
        network=backbone_file.network or None,
        arch=arch,
        tensors=len(backbone),
        parameters=sum(tensor.numel() for tensor in backbone),
        normalization=backbone_file.normalization or known,
        size=described.size or (int(config["input_size"][-1]) if config else None),
        interpolation=described.interpolation or (str(config["interpolation"]) if config else None),
    )


def _config(arch: str | None) -> dict[str, Any]:
    """timm's preprocessing of an architecture; empty when not known."""
    if arch is None:
        return {}
    if arch.startswith("torchvision:"):
        mean, std = IMAGENET.mean, IMAGENET.std
        return {"mean": mean, "std": std, "input_size": (3, 224, 224), "interpolation": "bilinear"}
    config = timm.get_pretrained_cfg(arch.partition(",")[0])
    return {} if config is None else dict(vars(config))
