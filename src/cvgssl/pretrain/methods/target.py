"""Target networks: slow copies of what is trained."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn


def frozen_copy(*modules: nn.Module) -> nn.Sequential:
    """The modules one after another, with weights of their own that no gradient reaches.

    Registered as part of a method it is in `state_dict()`, so that a resumed run goes on with it.
    Batch norms keep statistics of their own, from the batches that pass through the copy.
    """
    return nn.Sequential(*copy.deepcopy(modules)).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: Iterable[nn.Module], momentum: float) -> None:
    """target = momentum * target + (1 - momentum) * online, for parameters, in place.

    online: modules whose parameters, one module after another, are in the order of the target's.
    """
    trained = [parameter for module in online for parameter in module.parameters()]
    for slow, fast in zip(target.parameters(), trained, strict=True):
        slow.lerp_(fast, 1 - momentum)


def momentum_at(start: float, progress: float) -> float:
    """Cosine from `start` at progress 0 to 1 at progress 1 (BYOL, Grill et al. 2020, 3.2)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
