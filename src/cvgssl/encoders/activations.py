"""Which activation a transformer's blocks have: QuickGELU and GELU differ silently."""

from torch import nn

from cvgssl.encoders.timm_import import timm


def activation(body: nn.Module) -> str | None:
    """`quick_gelu` or `gelu`; None for a model without transformer blocks."""
    blocks = getattr(body, "blocks", None)
    mlp = getattr(blocks[0], "mlp", None) if isinstance(blocks, nn.Sequential) else None
    if mlp is None or not hasattr(mlp, "act"):
        return None
    return "quick_gelu" if isinstance(mlp.act, timm.layers.QuickGELU) else "gelu"


def with_quick_gelu(arch: str) -> str:
    """The same architecture with QuickGELU: timm's variant of that name, or its option."""
    name, comma, options = arch.partition(",")
    quick = name.replace("_clip_", "_clip_quickgelu_")
    if "quickgelu" in quick and timm.is_model(quick):
        return quick + comma + options
    return f"{arch},act_layer=quick_gelu"


def is_quick(arch: str) -> bool:
    """Whether the architecture's name asks for QuickGELU."""
    return "quickgelu" in arch or "quick_gelu" in arch
