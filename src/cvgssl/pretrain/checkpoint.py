"""The files of weights that pre-training leaves: published checkpoints and the backbone.

A checkpoint has the published form, `{'epoch', 'arch', 'state_dict', 'optimizer'}` with the
encoder's weights under `base_encoder.` (its projection head in the place of the classifier),
written by torch.save. A further entry, `cvgssl`, says how pixels are normalised and which teachers
guided.
"""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from safetensors.torch import save
from torch import Tensor

from cvgssl import __version__
from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.methods.base import Method
from cvgssl.runtime.files import writing

BACKBONE = "backbone.safetensors"
_NAME = re.compile(r"checkpoint_(\d+)\.pth\.tar")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint is made of.

    epoch: epochs that are finished. facts: as of `backbone_facts`.
    """

    epoch: int
    method: Method
    optimizer: torch.optim.Optimizer
    facts: dict[str, Any]


def published_state(method: Method) -> dict[str, Tensor]:
    """The method's weights under their published names."""
    backbone = method.backbone
    classifier = _classifier(backbone)
    state = {f"base_encoder.{name}": value for name, value in backbone.body.state_dict().items()}
    for name, value in method.state_dict().items():
        if name.startswith("projector."):
            state[f"base_encoder.{classifier}.{name.removeprefix('projector.')}"] = value
        elif not name.startswith("backbone."):
            state[name] = value
    return state


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `checkpoint_EPOCH.pth.tar`, whole or not at all, and remove all but the newest `keep`.

    keep: at least 1.
    """
    content = {
        "epoch": checkpoint.epoch,
        "arch": checkpoint.method.backbone.arch,
        "state_dict": published_state(checkpoint.method),
        "optimizer": checkpoint.optimizer.state_dict(),
        "cvgssl": json.dumps({"card": checkpoint.facts}),
    }
    content = send_to_device(content, torch.device("cpu"))  # to be read where there is no GPU
    buffer = io.BytesIO()  # torch reports a full disk as a RuntimeError without a cause
    torch.save(content, buffer)
    path = folder / f"checkpoint_{checkpoint.epoch:04d}.pth.tar"
    with writing(path) as aside:
        aside.write_bytes(buffer.getbuffer())
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    paths = [path for path in folder.glob("checkpoint_*.pth.tar") if _NAME.fullmatch(path.name)]
    return sorted(paths, key=lambda path: int(_NAME.fullmatch(path.name)[1]))  # type: ignore[index]


def save_backbone(path: Path, backbone: Backbone, facts: dict[str, Any]) -> None:
    """Write the backbone's weights, under timm's names, as safetensors.

    `timm.create_model(ARCH, num_classes=0, checkpoint_path=path)` loads them, and so does
    `--pretrained path`, which also takes mean and standard deviation of the pixels from the file.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in backbone.body.state_dict().items()
    }
    content = save(tensors, {"cvgssl": json.dumps({"card": facts}, ensure_ascii=False)})
    with writing(path) as aside:
        aside.write_bytes(content)


def backbone_facts(backbone: Backbone, options: dict[str, Any]) -> dict[str, Any]:
    """Architecture, normalisation and version, with `options` added or replacing; JSON values."""
    normalization = backbone.normalization
    return {
        "arch": backbone.arch,
        "normalization": {"mean": normalization.mean, "std": normalization.std},
        "version": __version__,
    } | options


def _classifier(backbone: Backbone) -> str:
    """Name of the classifier in timm's model of this architecture."""
    config = getattr(backbone.body, "pretrained_cfg", None) or {}
    name = config.get("classifier", "head")
    return name if isinstance(name, str) else name[0]
