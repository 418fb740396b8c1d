"""Projector, predictor and adapters: MLPs with batch norm, in the style of MoCo v3.

"All layers in both MLPs have BN" (Chen, Xie, He: An Empirical Study of Training Self-Supervised
Vision Transformers, 2021, section 4); the last batch norm neither scales nor shifts, because what
follows is a cosine. Over several processes the statistics are those of all of them once
`cvgssl.runtime.sync_batch_norm.synchronize_batch_norm` has been applied to the whole method.
"""

from torch import nn

from cvgssl.encoders.backbone import Backbone

PREDICTOR_LAYERS = 2
ADAPTER_LAYERS = 3


def mlp(width_in: int, hidden: int, out: int, layers: int, last_norm: bool = True) -> nn.Sequential:
    """[B, width_in] to [B, out]: linear layers with batch norm and ReLU between them.

    last_norm: end with a batch norm without scale and shift. Without it the last layer has a bias;
        the others need none before a batch norm.
    """
    assert layers >= 1
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(width_in, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        width_in = hidden
    parts.append(nn.Linear(width_in, out, bias=not last_norm))
    if last_norm:
        parts.append(nn.BatchNorm1d(out, affine=False))
    return nn.Sequential(*parts)


def is_transformer(backbone: Backbone) -> bool:
    """Whether the network is a stack of blocks on tokens, as timm's vision transformers are."""
    return hasattr(backbone.body, "blocks") and hasattr(backbone.body, "patch_embed")


def projector(backbone: Backbone, hidden: int, out: int) -> nn.Sequential:
    """Backbone features [B, D] to [B, out]: 2 layers for ConvNets, 3 for transformers."""
    return mlp(backbone.feature_dim, hidden, out, layers=3 if is_transformer(backbone) else 2)


def predictor(hidden: int, out: int) -> nn.Sequential:
    """Projections [B, out] to predictions [B, out]."""
    return mlp(out, hidden, out, PREDICTOR_LAYERS)


def adapter(teacher_dim: int, hidden: int, out: int) -> nn.Sequential:
    """MLP-Adapter: features of a frozen teacher [B, teacher_dim] to [B, out]."""
    return mlp(teacher_dim, hidden, out, ADAPTER_LAYERS)
