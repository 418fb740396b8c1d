"""Components that methods share: projection heads, means over targets and pairs, a momentum copy.

"All layers in both MLPs have BN" (Chen, Xie, He: An Empirical Study of Training Self-Supervised
Vision Transformers, 2021, section 4); the last batch norm neither scales nor shifts, because what
follows is a cosine. Over several processes the statistics are those of all of them once
`cvgssl.runtime.sync_batch_norm.synchronize_batch_norm` has been applied to the whole method.
"""

import copy
import importlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

import cvgssl.encoders.timm_import  # noqa: F401  lightly imports timm and torchvision
from cvgssl.encoders.backbone import Backbone
from cvgssl.runtime.schedule import cosine

PREDICTOR_LAYERS = 2
ADAPTER_LAYERS = 3


def mlp(width_in: int, hidden: int, out: int, layers: int, last_norm: bool = True) -> nn.Sequential:
    """[B, width_in] to [B, out]: linear layers with batch norm and ReLU between them.

    layers: at least 1. last_norm: end with a batch norm without scale and shift; otherwise the
        last layer has a bias, which the others do not need before a batch norm.
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
    """Whether the network is one of timm's vision transformers: blocks on patch tokens."""
    return hasattr(backbone.body, "blocks") and hasattr(backbone.body, "patch_embed")


def projector(backbone: Backbone, hidden: int, out: int) -> nn.Sequential:
    """Projection head, features [B, D] to [B, out]: 2 layers for ConvNets, 3 for transformers."""
    return mlp(backbone.feature_dim, hidden, out, layers=3 if is_transformer(backbone) else 2)


def predictor(hidden: int, out: int) -> nn.Sequential:
    """Prediction head, projections [B, out] to predictions [B, out]."""
    return mlp(out, hidden, out, PREDICTOR_LAYERS)


def adapter(teacher_dim: int, hidden: int, out: int) -> nn.Sequential:
    """MLP-Adapter: features of a frozen teacher [B, teacher_dim] to [B, out]."""
    return mlp(teacher_dim, hidden, out, ADAPTER_LAYERS)


class WeightedMean:
    """Mean of one scalar per target, weighted; weights are above 0 and need not add up to 1."""

    def __init__(self, weights: Sequence[float]) -> None:
        assert weights and all(weight > 0 for weight in weights)
        self.shares = [weight / sum(weights) for weight in weights]

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """Weighted mean of T scalars."""
        assert len(values) == len(self.shares)
        return torch.stack([s * v for s, v in zip(self.shares, values, strict=True)]).sum()


def mean_over_pairs(
    online: Sequence[Tensor],
    targets: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Mean over strong views j of (loss(online_0, target_j) + loss(online_j, target_0)) / 2.

    online, targets: V times [B, D], V at least 2; entry 0 is the weak view. With V = 2 it is the
    symmetric loss of the papers. Strong views are not compared with each other.
    """
    losses = [
        loss(online[0], targets[j]) + loss(online[j], targets[0]) for j in range(1, len(online))
    ]
    return torch.stack(losses).mean() / 2


def frozen_copy(*modules: nn.Module) -> nn.Sequential:
    """A copy of the modules as one sequence, whose parameters get no gradient.

    As a submodule of a method it is in `state_dict()`, so that a resumed run continues with it.
    Its batch norms have statistics of their own, from the batches that pass through the copy.
    """
    return nn.Sequential(*copy.deepcopy(modules)).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: Iterable[nn.Module], momentum: float) -> None:
    """Exponential moving average of parameters, in place.

    target = momentum * target + (1 - momentum) * online; momentum: 0..1.
    online: modules whose parameters, in sequence, match the target's in order and shape.
    """
    trained = [parameter for module in online for parameter in module.parameters()]
    for averaged, current in zip(target.parameters(), trained, strict=True):
        averaged.lerp_(current, 1 - momentum)


def momentum_at(start: float, progress: float) -> float:
    """Momentum of a target network, from `start` at progress 0 to 1 at progress 1.

    A cosine, as in BYOL (Grill et al. 2020, section 3.2).
    """
    return cosine(progress, start=start, end=1.0)


def lightly_parts() -> tuple[ModuleType, ModuleType]:
    """The modules `lightly.loss` and `lightly.models.modules`, imported without network and noise.

    Their imports need neither pytorch_lightning nor hydra.
    """
    # releases before 1.6 asked a server for the newest version when imported
    os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = importlib.import_module("lightly.loss")
        modules = importlib.import_module("lightly.models.modules")
    return loss, modules
