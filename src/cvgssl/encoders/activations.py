"""Which activation a transformer's blocks have: QuickGELU, GELU, its tanh form differ silently."""

from torch import nn

from cvgssl.encoders.timm_import import timm

_TANH = ("vit_so400m_patch16_siglip_", "vit_giantopt_patch16_siglip_")  # timm's that have it


def activation(body: nn.Module) -> str | None:
    """`quick_gelu`, `gelu_tanh` or `gelu`; None for a model without transformer blocks."""
    blocks = getattr(body, "blocks", None)
    mlp = getattr(blocks[0], "mlp", None) if isinstance(blocks, nn.Sequential) else None
    if mlp is None or not hasattr(mlp, "act"):
        return None
    if isinstance(mlp.act, timm.layers.QuickGELU):
        return "quick_gelu"
    return "gelu_tanh" if isinstance(mlp.act, timm.layers.GELUTanh) else "gelu"


def with_quick_gelu(arch: str) -> str:
    """The same architecture with QuickGELU: timm's variant of that name, or its option."""
    name, comma, options = arch.partition(",")
    quick = name.replace("_clip_", "_clip_quickgelu_")
    if "quickgelu" in quick and timm.is_model(quick):
        return quick + comma + options
    return f"{arch},act_layer=quick_gelu"


def with_activation(arch: str, wanted: str) -> str:
    """The same architecture with the activation that `activation` calls `wanted`.

    An architecture that names one keeps it.
    """
    if is_quick(arch) or "act_layer=" in arch or wanted not in ("quick_gelu", "gelu_tanh"):
        return arch
    if wanted == "quick_gelu":
        return with_quick_gelu(arch)
    if arch.startswith(_TANH):
        return arch
    return f"{arch},act_layer=gelu_tanh"


def is_quick(arch: str) -> bool:
    """Whether the architecture's name asks for QuickGELU."""
    return "quickgelu" in arch or "quick_gelu" in arch
