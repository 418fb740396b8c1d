"""Standardized features of a frozen teacher."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cvgssl.pretrain.contrastive import process_count


class Standardizer(nn.Module):
    """Features with mean 0 and variance 1 in every dimension, over all that it has seen.

    A frozen teacher's features of random views do not drift, so their moments are simply summed
    up over the whole training, over all processes (Chan, Golub, LeVeque 1983). They are part of
    `state_dict()`. In eval mode nothing is added.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Float32 [..., D] to the same shape; these features count among those seen."""
        if self.training:
            self._add(features.flatten(0, -2))
        # a dimension that hardly varies stays small instead of becoming amplified noise
        least = 1e-6 * self.variance.mean()
        return (features - self.mean) * torch.rsqrt(self.variance + least)

    def _add(self, features: Tensor) -> None:
        count = len(features) * process_count()
        mean = _sum_over_processes(features.sum(0)) / count
        squares = _sum_over_processes((features - mean).square().sum(0))
        total = self.count + count
        share = count / total  # 1 the first time
        difference = mean - self.mean
        self.variance.mul_(1 - share).add_(squares / total)
        self.variance.add_(difference.square() * share * (1 - share))
        self.mean.add_(difference * share)
        self.count.copy_(total)


def _sum_over_processes(values: Tensor) -> Tensor:
    if process_count() > 1:
        dist.all_reduce(values)
    return values
