"""Which architecture a backbone's tensors belong to, by their names and shapes."""

import re

from torch import Tensor

from cvgssl.encoders.activations import with_activation
from cvgssl.encoders.backbone_file import BackboneFile
from cvgssl.encoders.renaming import Weights

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
# width of stem and head, blocks of each stage; without squeeze-and-excitation
_EFFICIENTNETS: dict[tuple[int, ...], str] = {
    (32, 1280, 1, 2, 2, 3, 3, 4, 1): "tf_efficientnet_lite0",
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
_DINOV2_VITS = {(384, 12): "small", (768, 12): "base", (1024, 24): "large", (1536, 40): "giant"}
_DINOV3_VITS = {
    (384, 12, False): "small",
    (384, 12, True): "small_plus",
    (768, 12, False): "base",
    (1024, 24, False): "large",
    (1280, 32, True): "huge_plus",
    (4096, 40, True): "7b",
}
_OPENAI_VITS = ("vit_base_", "vit_large_")
_HIDDEN = (
    "visual.transformer.resblocks.0.mlp.c_fc.weight",
    "blocks.0.mlp.fc1.weight",
    "blocks.0.mlp.fc1_g.weight",
)
_HEAD_WIDTH = 64
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


def arch_of(backbone_file: BackboneFile) -> str | None:
    """The architecture of a file, for `--arch`; None when that is not certain.

    What cvgssl wrote into it; else what names and shapes show; else what another trainer wrote.
    """
    if backbone_file.layout.names_arch or backbone_file.card.arch:
        return backbone_file.arch
    try:
        arch = infer_arch(backbone_file.weights) or (
            _shaped(backbone_file) if backbone_file.layout.base else None
        )
    except (IndexError, ValueError):  # tensors with fewer dimensions than their names say
        arch = None
    if arch is None or not arch.startswith("vit_"):
        return arch or backbone_file.arch
    usual = backbone_file.layout.usual_activation if arch.startswith(_OPENAI_VITS) else ""
    return with_activation(arch, backbone_file.activation or usual)


def _shaped(backbone_file: BackboneFile) -> str | None:
    """The family's smallest architecture with options for the shapes of this file.

    Heads are those of config.json beside the file, else of 64 numbers.
    """
    weights, name = backbone_file.weights, backbone_file.layout.base
    patches = weights.get("visual.conv1.weight", weights.get("patch_embed.proj.weight"))
    hidden = next((weights[key] for key in _HIDDEN if key in weights), None)
    if patches is None or patches.ndim != 4 or hidden is None:
        return None
    width, depth = (
        patches.shape[0],
        _depth(weights, r"(?:visual\.transformer\.res)?blocks\.(\d+)\."),
    )
    registers = weights["reg_token"].shape[1] if "reg_token" in weights else 0
    gated = "blocks.0.mlp.fc1_g.weight" in weights
    packed = _packed(weights)
    options: dict[str, int | float | str] = {
        "patch_size": patches.shape[-1],
        "embed_dim": width,
        "depth": depth,
        "num_heads": backbone_file.described.heads or max(1, width // _HEAD_WIDTH),
    }
    if hidden.shape[0] != 4 * width or packed:
        options["mlp_ratio"] = _ratio(width, hidden.shape[0])
    if "dinov3" in name:
        name = name.replace("small", "small_plus") if gated else name
        options |= {"num_reg_tokens": registers, "global_pool": "token"}
        if gated:
            options["swiglu_align_to"] = 1
        if "blocks.0.attn.q_bias" in weights:
            options["qkv_bias"] = "true"
    elif "dinov2" in name:
        name = name.replace("small", "giant") if packed else name
        if registers:
            options |= {"reg_tokens": registers, "no_embed_class": "true"}
    return ",".join([name, *(f"{key}={value}" for key, value in options.items())])


def _packed(weights: Weights) -> bool:
    """Whether the MLP is gated with both halves in one layer (DINOv2's giants)."""
    first, second = (weights.get(f"blocks.0.mlp.fc{n}.weight") for n in (1, 2))
    return first is not None and second is not None and first.shape[0] == 2 * second.shape[1]


def _ratio(width: int, hidden: int) -> float:
    """What timm multiplies the width with to get `hidden`, rounding down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else ratio + 1e-9


def infer_arch(weights: Weights, quick_gelu: bool = False) -> str | None:
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
    if "conv_stem.weight" in weights and "conv_head.weight" in weights:
        return _efficientnet(weights)
    return _vit(weights)


def _efficientnet(weights: Weights) -> str | None:
    if any(".se." in name for name in weights):
        return None
    blocks = (_depth(weights, rf"blocks\.{stage}\.(\d+)\.") for stage in range(7))
    widths = (weights["conv_stem.weight"].shape[0], weights["conv_head.weight"].shape[0])
    return _EFFICIENTNETS.get((*widths, *blocks))


def _depth(weights: Weights, pattern: str) -> int:
    """One more than the largest number that the group of `pattern` matches."""
    matches = (re.match(pattern, name) for name in weights)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


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
    if "blocks.0.gamma_1" in weights and "pos_embed" not in weights:
        return _dinov3(weights, patches)
    if "blocks.0.ls1.gamma" in weights:
        return _dinov2(weights, patches)
    if any("dist_token" in name or "reg_token" in name or "gamma" in name for name in weights):
        return None
    size = _VITS.get((patches.shape[0], _depth(weights, r"blocks\.(\d+)\.")))
    patch = patches.shape[-1]
    if size is None or patch not in _PATCHES:
        return None
    if "norm_pre.weight" in weights:
        return f"vit_{size}_patch{patch}_clip_224" if (size, patch) in _CLIP_VITS else None
    return f"vit_{size}_patch{patch}_224" if size in _PLAIN_VITS else None


def _dinov2(weights: Weights, patches: Tensor) -> str | None:
    """DINOv2: layer scale and patches of 14 pixels, with 4 registers or none."""
    size = _DINOV2_VITS.get((patches.shape[0], _depth(weights, r"blocks\.(\d+)\.")))
    tokens = weights.get("reg_token", weights.get("register_tokens"))
    registers = 0 if tokens is None else tokens.shape[1]
    if size is None or patches.shape[-1] != 14 or registers not in (0, 4):
        return None
    return f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2"


def _dinov3(weights: Weights, patches: Tensor) -> str | None:
    """DINOv3's transformer, whose output is the class token."""
    gated = "blocks.0.mlp.fc1_g.weight" in weights
    depth = _depth(weights, r"blocks\.(\d+)\.")
    size = _DINOV3_VITS.get((patches.shape[0], depth, gated))
    tokens = weights.get("reg_token")
    if size is None or patches.shape[-1] != 16 or tokens is None or tokens.shape[1] != 4:
        return None
    name = f"vit_{size}_patch16_dinov3"
    if "blocks.0.attn.q_bias" in weights:
        name += ",qkv_bias=true" if size == "7b" else "_qkvb"
    return f"{name},global_pool=token"


def _siglip(weights: Weights, patches: Tensor) -> str | None:
    """SigLIP's transformer: attention pooling, no class token."""
    size = _VITS.get((patches.shape[0], _depth(weights, r"blocks\.(\d+)\.")))
    positions, patch = weights.get("pos_embed"), patches.shape[-1]
    if size is None or positions is None:
        return None
    pixels = round(positions.shape[1] ** 0.5) * patch
    return f"vit_{size}_patch{patch}_siglip_{pixels}" if pixels in _SIGLIP_SIZES else None
