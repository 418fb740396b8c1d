"""Batch norm over the pictures of all processes, on any device.

torch's own SyncBatchNorm refuses the CPU, where the promise "several processes give the result
of one" has to be testable. Shapes: B pictures, C channels, then any spatial sizes.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose training statistics come from every process's batch, with gradients.

    Takes over the parameters and buffers of `source`, and the dropout and activation that timm
    fuses into its own batch norms.
    """

    def __init__(self, source: _BatchNorm) -> None:
        super().__init__(source.num_features, source.eps, source.momentum, source.affine)
        self.weight, self.bias = source.weight, source.bias
        self.running_mean, self.running_var = source.running_mean, source.running_var
        self.num_batches_tracked = source.num_batches_tracked
        self.drop = getattr(source, "drop", nn.Identity())
        self.act = getattr(source, "act", nn.Identity())
        self.train(source.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize [B, C, ...]; evaluation uses the running statistics as usual."""
        normal = self._normalize(input) if self.training else super().forward(input)
        activated: Tensor = self.act(self.drop(normal))
        return activated

    def _normalize(self, input: Tensor) -> Tensor:
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        values = input.float()
        count = values.new_full((1,), input.numel() / input.shape[1])
        sums = _sum_over_processes(torch.cat([values.sum(axes), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = values - mean.view(shape)
        # a second pass: E[x^2] - E[x]^2 would cancel in float32
        variance = _sum_over_processes(centred.square().sum(axes)) / total
        self._update(mean.detach(), variance.detach() * total / (total - 1).clamp_min(1))
        normal: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.momentum is not None, "cumulative averages are not used here"
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.dim() >= 2


class _Sum(torch.autograd.Function):
    """Sum over processes with gradients; torch's own is deprecated."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _sum_over_processes(values: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return summed


def synchronize_batch_norm(model: nn.Module) -> None:
    """Replace every batch norm in `model`, in place, when several processes train."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    for name, child in model.named_children():
        if isinstance(child, _BatchNorm):
            setattr(model, name, SyncBatchNorm(child))
        else:
            synchronize_batch_norm(child)
