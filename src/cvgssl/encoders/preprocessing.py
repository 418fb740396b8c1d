"""How pictures must look for an encoder: size, filter, mean and std; each is silent when wrong."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from cvgssl.encoders.backbone import TORCHVISION
from cvgssl.encoders.backbone_file import BackboneFile
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import parse_json, parsing

_REMEDY = "copy it again or remove it"
_STRIDE = 32  # of CLIP's ResNets


def published_config(arch: str) -> dict[str, Any]:
    """timm's record of an architecture's weights (`name` or `name.tag`); empty when unknown.

    Keys used: input_size, interpolation, mean, std, num_classes, classifier, notes.
    """
    if arch.startswith(TORCHVISION):
        return {"input_size": (3, 224, 224), "interpolation": "bilinear"}
    try:
        config = timm.get_pretrained_cfg(arch.partition(",")[0])
    except RuntimeError:  # a tag that timm does not know
        return {}
    return {} if config is None else dict(vars(config))


def file_size(backbone_file: BackboneFile) -> int | None:
    """Side of the pictures that a file's position embedding was trained for; None without one."""
    check_size(backbone_file.card.size, backbone_file.weights)
    return backbone_file.card.size or _size_of_positions(backbone_file.weights)[0]


def check_size(size: int | None, weights: Mapping[str, Tensor]) -> None:
    """Raise UserError when a card says another size than the position embedding was made for."""
    side, pixels = _size_of_positions(weights)
    if size is not None and side is not None and not side <= size < side + pixels:
        raise UserError(
            f"its card says pictures of {size} px, its position embedding is for {side} px; the "
            "file is damaged"
        )


def _size_of_positions(weights: Mapping[str, Tensor]) -> tuple[int | None, int]:
    """Side of the pictures, None without positions, and pixels between two positions."""
    pooling = weights.get("visual.attnpool.positional_embedding", weights.get("head.pos_embed"))
    if pooling is not None and pooling.ndim == 2:
        return _grid(pooling.shape[0], _STRIDE), _STRIDE
    positions = weights.get("visual.positional_embedding", weights.get("pos_embed"))
    patches = weights.get("visual.conv1.weight", weights.get("patch_embed.proj.weight"))
    if positions is None or positions.ndim not in (2, 3):
        return None, _STRIDE
    if patches is None or patches.ndim != 4 or patches.shape[-1] < 8:
        return None, _STRIDE
    return _grid(positions.shape[-2], patches.shape[-1]), patches.shape[-1]


def _grid(count: int, pixels: int) -> int | None:
    """Side of `count` positions, of which up to two belong to no place, times `pixels`."""
    for extra in range(3):
        side = math.isqrt(max(count - extra, 0))
        if side and side * side == count - extra:
            return side * pixels
    return None


@dataclass(frozen=True)
class OpenClipConfig:
    """What `open_clip_config.json` beside a downloaded open_clip file says; None where nothing.

    text: its options of the text tower, as open_clip names them.
    """

    quick_gelu: bool | None = None
    normalization: Normalization | None = None
    interpolation: str | None = None
    text: dict[str, Any] | None = None


def open_clip_config(path: Path) -> OpenClipConfig:
    """Read the configuration beside `path`, if it is one of open_clip's own downloads.

    Only files named `open_clip_...` belong to it, as on the hub. Raises UserError when damaged.
    """
    beside = path.parent / "open_clip_config.json"
    if not path.name.startswith("open_clip_") or not beside.is_file():
        return OpenClipConfig()
    content = parse_json(beside, "open_clip's configuration", _REMEDY)
    with parsing(beside, "open_clip's configuration", _REMEDY):
        model, pixels = content["model_cfg"], content.get("preprocess_cfg", {})
        known = "mean" in pixels and "std" in pixels
        return OpenClipConfig(
            bool(model.get("quick_gelu", False)),
            Normalization(_three(pixels["mean"]), _three(pixels["std"])) if known else None,
            pixels.get("interpolation"),
            dict(model["text_cfg"]) if "text_cfg" in model else None,
        )


def _three(values: list[float] | float) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, list) else [values] * 3
    return float(red), float(green), float(blue)


def resized(views: Tensor, size: int, interpolation: str) -> Tensor:
    """Float 0..1 [B, C, s, s] to [B, C, size, size], antialiased as Pillow does it, kept in 0..1.

    interpolation: `bicubic` or `bilinear`.
    """
    if tuple(views.shape[-2:]) == (size, size):
        return views
    # antialias also when enlarging: it chooses Pillow's bicubic kernel (a = -0.5)
    smooth = interpolate(views.float(), (size, size), mode=interpolation, antialias=True)
    return smooth.clamp_(0, 1) if interpolation == "bicubic" else smooth
