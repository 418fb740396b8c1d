"""From a CLIP tower's pooled features to the space that pictures and texts share.

Shape letters: F pooled features, D numbers of the joint space.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cvgssl.encoders.layouts import Found

# a head of so many outputs tells classes: ImageNet-1k, -12k and -21k
_CLASSES = {1000, 11821, 21841, 21843}


def projection(found: Found, head: str | None, pooled_only: bool = False) -> nn.Module | None:
    """What the file has behind the pooled features, as a module [B, F] -> [B, D]; None if nothing.

    head: name of a CLIP model's last layer in timm's naming (`head`, `head.proj`, `head.fc`), which
        is the projection unless it tells classes; None for encoders that are not CLIP's.
    pooled_only: the backbone pools otherwise than the file's own tower (ResNets by OpenAI whose
        attention pooling is left out), so nothing fits behind it.
    """
    weights = found.weights
    if pooled_only:
        return None
    if "visual.proj" in weights:
        return _linear(weights["visual.proj"].T)
    if "visual.attnpool.c_proj.weight" in weights:
        pool = "visual.attnpool.c_proj."
        return _linear(weights[pool + "weight"], weights.get(pool + "bias"))
    if found.head:
        return _behind_timm(found.head)
    last = None if head is None else weights.get(f"{head}.weight")
    if last is None or last.ndim != 2 or last.shape[0] in _CLASSES:
        return None
    return _linear(last, weights.get(f"{head}.bias"))


def _behind_timm(head: Mapping[str, Tensor]) -> nn.Module | None:
    """open_clip's head behind a tower of timm: one linear layer, or two with a GELU between."""
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
