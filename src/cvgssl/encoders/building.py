"""A frozen encoder from a weight file, or with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvgssl.encoders.activations import is_quick, with_activation, with_quick_gelu
from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.backbone_file import BackboneFile
from cvgssl.encoders.clip_names import clip_name, clip_tower
from cvgssl.encoders.encoder_spec import PREFIX, EncoderSpec
from cvgssl.encoders.extent import bounded_by, undrawn
from cvgssl.encoders.frozen_encoder import FrozenEncoder, WeightsSource
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.preprocessing import file_size, open_clip_config, published_config
from cvgssl.encoders.pretrained import LoadReport, load_found
from cvgssl.runtime.errors import UserError

_RANDOM_SEED = 0


def encoder_from(
    spec: EncoderSpec,
    arch: str,
    path: Path,
    backbone_file: BackboneFile,
    hub: str | None = None,
    size: int | None = None,
) -> FrozenEncoder:
    """The frozen encoder of architecture `arch` with the weights of the file `path`.

    backbone_file: what `path` holds.
    hub: timm's name of these weights, if that is known; decides mean, std, size and activation.
    size: side of the pictures that it sees instead of its own, pixels.
    Raises UserError when the file does not give the whole tower.
    """
    tower = clip_tower(spec.name)
    beside = open_clip_config(path)
    arch, notes = _right_activation(arch, backbone_file, hub, beside.quick_gelu)
    config = published_config(hub or arch)
    own_size = backbone_file.described.size or file_size(backbone_file)
    size = size or own_size or (tower.size if tower else _size(config))
    with bounded_by(backbone_file.weights), undrawn():  # `_check_whole` sees that all is read
        backbone = build_backbone(arch, size, flag="")
    report = load_found(backbone, backbone_file, path, hub)
    _check_whole(report, backbone_file)
    if beside.normalization is not None:
        backbone.normalization = beside.normalization
    projector = projection(backbone_file, _projecting_head(arch, hub, config), "_gap" in arch)
    _check_fits(projector, backbone)
    if tower is not None and projector is None and tower.width != backbone.feature_dim:
        notes.append("the file has no projection: pooled features")
    interpolation = beside.interpolation or backbone_file.described.interpolation
    stated = interpolation or backbone_file.card.resampling
    usual = "bicubic" if backbone_file.layout.clip else config.get("interpolation")
    source = WeightsSource(
        file=path.name if hub is None or spec.file else PREFIX + hub,
        sha256=report.sha256,
        layout=report.layout,
        card=backbone_file.card,
        network=backbone_file.network,
        remarks=backbone_file.notes,
        notes=(*(note for note in report.notes if "plain GELU" not in note), *notes),
    )
    return FrozenEncoder(
        spec.label, backbone, projector, _filter(stated or usual), spec.weight, source
    )


def random_encoder(spec: EncoderSpec, arch: str, size: int | None = None) -> FrozenEncoder:
    """Random weights, the same ones each time, so that equal identities mean equal embeddings.

    size: side of the pictures that it sees instead of its own, pixels.
    """
    torch.default_generator.manual_seed(_RANDOM_SEED)  # of the CPU only
    tower, config = clip_tower(spec.name), published_config(arch)
    backbone = build_backbone(arch, size or (tower.size if tower else _size(config)), flag="")
    if "mean" in config:
        backbone.normalization = Normalization(tuple(config["mean"]), tuple(config["std"]))
    projector = None
    if tower is not None and "_siglip_" not in arch:
        projector = nn.Linear(backbone.feature_dim, tower.width, bias=False)
    return FrozenEncoder(
        spec.label, backbone, projector, _filter(config.get("interpolation")), spec.weight
    )


def _size(config: dict[str, Any]) -> int:
    return int(config["input_size"][-1]) if config else 224


def _filter(name: str | None) -> str:
    return "bilinear" if name == "bilinear" else "bicubic"


def _projecting_head(arch: str, hub: str | None, config: dict[str, Any]) -> str | None:
    """Timm's name of a CLIP model's last layer; None for other encoders."""
    tag = (hub or "").partition(".")[2]
    return (
        str(config.get("classifier", "head")) if "_clip_" in arch + "_" or "clip" in tag else None
    )


def _right_activation(
    arch: str, backbone_file: BackboneFile, hub: str | None, config: bool | None
) -> tuple[str, list[str]]:
    """The architecture with the activation that the weights need, and notes for the log.

    OpenAI's format, timm's record and open_clip's configuration (its quick_gelu, None without one)
    say it; a file without these does not, and is taken as the name says.
    """
    described = backbone_file.described.activation
    if backbone_file.activation == "gelu_tanh" and "act_layer=" not in arch:
        source = "config.json says" if described else "SigLIP has in transformers"
        return with_activation(arch, "gelu_tanh"), [f"GELU's tanh form, as {source}"]
    if not arch.startswith("vit_") or "_clip_" not in arch:
        return arch, []
    if is_quick(arch):
        if config is False or described == "gelu":
            file = "config.json" if described else "open_clip_config.json"
            raise UserError(
                f"{file} beside the file says plain GELU, the name means QuickGELU; "
                f"use {clip_name(arch.replace('_quickgelu', ''))}"
            )
    else:
        notes = published_config(hub).get("notes") or () if hub else ()
        reasons = {
            "the file is by OpenAI": backbone_file.layout.activation == "quick_gelu",
            "config.json says": described == "quick_gelu",
            "timm says": any("natively QuickGELU" in note for note in notes),
            "open_clip_config.json says": config,
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason is not None:
            return with_quick_gelu(arch), [f"QuickGELU, as {reason}"]
    if not backbone_file.activation and config is None and hub is None:
        kind = "QuickGELU" if is_quick(arch) else "plain GELU"
        return arch, [f"{kind}, as the name says (the file does not state it)"]
    return arch, []


def _check_whole(report: LoadReport, backbone_file: BackboneFile) -> None:
    """No part of a frozen encoder is random, and nothing of a CLIP tower is left out."""
    if report.missing:
        raise UserError(
            f"{report.path}: lacks {', '.join(report.missing[:3])} of {report.arch}; give a file "
            "of the whole encoder"
        )
    aside = {*backbone_file.left, "head.weight", "head.bias", "head.proj.weight", "head.proj.bias"}
    left = [name for name in report.unexpected if name not in aside]
    if left and backbone_file.layout.keeps_prefix:
        raise UserError(
            f"{report.path}: has {', '.join(left[:3])}, which {report.arch} lacks, so its "
            "embeddings would be others; such towers are not read"
        )


def _check_fits(projector: nn.Module | None, backbone: Backbone) -> None:
    first = projector[0] if isinstance(projector, nn.Sequential) else projector
    if isinstance(first, nn.Linear) and first.in_features != backbone.feature_dim:
        raise UserError(
            f"the file's projection takes {first.in_features} numbers, {backbone.arch} gives "
            f"{backbone.feature_dim}; name the architecture that the file is of"
        )


# a head with one of these numbers of outputs is a classifier: ImageNet-1k, -12k and -21k
_CLASSES = {1000, 11821, 21841, 21843}


def projection(
    backbone_file: BackboneFile, head: str | None, pooled_only: bool = False
) -> nn.Module | None:
    """The projection head on the pooled features, as a module [B, F] -> [B, D]; None if nothing.

    head: name of a CLIP model's last layer in timm's naming (`head`, `head.proj`, `head.fc`), which
        is the projection unless it is a classifier; None for encoders that are not CLIP's.
    pooled_only: the backbone pools otherwise than the file's own tower (ResNets by OpenAI whose
        attention pooling is left out), so no projection fits it.
    """
    weights = backbone_file.weights
    if pooled_only:
        return None
    if "visual.proj" in weights:
        return _linear(weights["visual.proj"].T)
    if "visual.attnpool.c_proj.weight" in weights:
        pool = "visual.attnpool.c_proj."
        return _linear(weights[pool + "weight"], weights.get(pool + "bias"))
    if backbone_file.head:
        return _timm_projection(backbone_file.head)
    last = None if head is None else weights.get(f"{head}.weight")
    if last is None or last.ndim != 2 or last.shape[0] in _CLASSES:
        return None
    return _linear(last, weights.get(f"{head}.bias"))


def _timm_projection(head: Mapping[str, Tensor]) -> nn.Module | None:
    """open_clip's projection head for timm's towers: a linear layer, or two with a GELU between."""
    if "proj.weight" in head:
        return _linear(head["proj.weight"], head.get("proj.bias"))
    if "mlp.fc1.weight" in head and "mlp.fc2.weight" in head:
        return nn.Sequential(
            _linear(head["mlp.fc1.weight"], head.get("mlp.fc1.bias")),
            nn.GELU(),
            _linear(head["mlp.fc2.weight"], head.get("mlp.fc2.bias")),
        )
    return None


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    width, inputs = weight.shape
    layer = nn.Linear(inputs, width, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
