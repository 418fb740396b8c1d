"""How methods made for two views are applied to a weak view and several strong ones."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mean_over_pairs(
    online: Sequence[Tensor],
    targets: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Mean over strong views j of (loss(online_0, target_j) + loss(online_j, target_0)) / 2.

    online, targets: V times [B, D]; entry 0 is the weak view. With V = 2 it is the symmetric loss
    that the methods publish. Strong views are not compared with one another.
    """
    losses = [
        loss(online[0], targets[j]) + loss(online[j], targets[0]) for j in range(1, len(online))
    ]
    return torch.stack(losses).mean() / 2
