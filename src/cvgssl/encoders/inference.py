"""Which architecture a backbone's tensors belong to, by their names and shapes."""

import re
from collections.abc import Mapping

from torch import Tensor

Weights = Mapping[str, Tensor]

_RESNETS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2, False): "resnet18",
    (3, 4, 6, 3, False): "resnet34",
    (3, 4, 6, 3, True): "resnet50",
    (3, 4, 23, 3, True): "resnet101",
}
_CLIP_RESNETS: dict[tuple[int, ...], str] = {
    (3, 4, 6, 3, 64): "resnet50_clip",
    (3, 4, 23, 3, 64): "resnet101_clip",
    (4, 6, 10, 6, 80): "resnet50x4_clip",
    (6, 8, 18, 8, 96): "resnet50x16_clip",
    (3, 15, 36, 10, 128): "resnet50x64_clip",
}
_SQUEEZENETS: dict[tuple[int, ...], str] = {
    (64, 3, 3, 3): "squeezenet1_1",
    (96, 3, 7, 7): "squeezenet1_0",
}
_VITS = {
    (192, 12): "tiny",
    (384, 12): "small",
    (768, 12): "base",
    (1024, 24): "large",
    (1152, 27): "so400m",
    (1280, 32): "huge",
    (1408, 40): "giant",
    (1664, 48): "gigantic",
}
_PLAIN_VITS = {"tiny", "small", "base", "large"}
_PATCHES = {8, 14, 16, 32}
_CLIP_VITS = {
    ("base", 32),
    ("base", 16),
    ("large", 14),
    ("huge", 14),
    ("giant", 14),
    ("gigantic", 14),
}
_LARGER_CLIP_VITS = {("large", 14, 336), ("huge", 14, 378)}
_SIGLIP_SIZES = {224, 256, 378, 384, 512}


def infer_arch(weights: Weights, quick_gelu: bool | None = False) -> str | None:
    """The timm (or `torchvision:`) name, or None when that is not certain.

    weights: a backbone as `find_backbone` gives it. quick_gelu: whether it is known to need that.
    """
    if "visual.layer1.0.conv1.weight" in weights:
        return _clip_resnet(weights)
    if "visual.class_embedding" in weights:
        return _clip_vit(weights, bool(quick_gelu))
    if "layer1.0.conv1.weight" in weights:
        return _resnet(weights)
    if "features.0.weight" in weights and "features.3.squeeze.weight" in weights:
        stem = tuple(weights["features.0.weight"].shape)
        name = _SQUEEZENETS.get(stem)
        return f"torchvision:{name}" if name else None
    return _vit(weights)


def _depth(weights: Weights, pattern: str) -> int:
    """One more than the largest number that stands at the group of `pattern`."""
    found = (re.match(pattern, name) for name in weights)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _stages(weights: Weights, prefix: str = "") -> tuple[int, ...]:
    return tuple(_depth(weights, rf"{prefix}layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))


def _resnet(weights: Weights) -> str | None:
    stem, block = weights.get("conv1.weight"), weights["layer1.0.conv1.weight"]
    if stem is None or stem.shape[0] != 64 or stem.shape[-1] != 7 or block.shape[0] != 64:
        return None  # wide, grouped or with another stem
    bottleneck = "layer1.0.conv3.weight" in weights
    if bottleneck and weights["layer1.0.conv2.weight"].shape[:2] != (64, 64):
        return None
    return _RESNETS.get((*_stages(weights), bottleneck))


def _clip_resnet(weights: Weights) -> str | None:
    width = weights["visual.layer1.0.conv1.weight"].shape[0]
    name = _CLIP_RESNETS.get((*_stages(weights, r"visual\."), width))
    has_pool = any(key.startswith("visual.attnpool.") for key in weights)
    return name if has_pool or name is None else name + "_gap"


def _clip_vit(weights: Weights, quick_gelu: bool) -> str | None:
    width, _, patch, _ = weights["visual.conv1.weight"].shape
    depth = _depth(weights, r"visual\.transformer\.resblocks\.(\d+)\.")
    size, positions = _VITS.get((width, depth)), weights.get("visual.positional_embedding")
    if size is None or positions is None or (size, patch) not in _CLIP_VITS:
        return None
    pixels = round((positions.shape[0] - 1) ** 0.5) * patch
    pixels = pixels if (size, patch, pixels) in _LARGER_CLIP_VITS else 224
    return f"vit_{size}_patch{patch}_clip{'_quickgelu' if quick_gelu else ''}_{pixels}"


def _vit(weights: Weights) -> str | None:
    patches = weights.get("patch_embed.proj.weight")
    if patches is None or "blocks.0.attn.qkv.weight" not in weights:
        return None
    if "cls_token" not in weights:
        return _siglip(weights, patches) if "attn_pool.latent" in weights else None
    if any("dist_token" in name or "reg_token" in name or "gamma" in name for name in weights):
        return None
    size = _VITS.get((patches.shape[0], _depth(weights, r"blocks\.(\d+)\.")))
    patch = patches.shape[-1]
    if size is None or patch not in _PATCHES:
        return None
    if "norm_pre.weight" in weights:
        return f"vit_{size}_patch{patch}_clip_224" if (size, patch) in _CLIP_VITS else None
    return f"vit_{size}_patch{patch}_224" if size in _PLAIN_VITS else None


def _siglip(weights: Weights, patches: Tensor) -> str | None:
    """SigLIP's transformer: attention pooling, no class token."""
    size = _VITS.get((patches.shape[0], _depth(weights, r"blocks\.(\d+)\.")))
    positions, patch = weights.get("pos_embed"), patches.shape[-1]
    if size is None or positions is None:
        return None
    pixels = round(positions.shape[1] ** 0.5) * patch
    return f"vit_{size}_patch{patch}_siglip_{pixels}" if pixels in _SIGLIP_SIZES else None
