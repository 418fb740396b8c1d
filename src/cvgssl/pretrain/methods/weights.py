"""Averages over teachers."""

from collections.abc import Sequence

import torch
from torch import Tensor


class WeightedMean:
    """Mean of one scalar per teacher by the teachers' weights, whatever their sum."""

    def __init__(self, weights: Sequence[float]) -> None:
        assert weights and all(weight > 0 for weight in weights)
        self.shares = [weight / sum(weights) for weight in weights]

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """Weighted mean of T scalars."""
        assert len(values) == len(self.shares)
        return torch.stack([s * v for s, v in zip(self.shares, values, strict=True)]).sum()
