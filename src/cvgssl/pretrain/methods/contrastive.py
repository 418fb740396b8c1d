"""InfoNCE over the pictures of all processes.

Shape letters: B pictures of one process's batch, W processes, D width. Every process must hold
the same number of pictures. The mean of a loss over processes, and the mean of its gradients
(which distributed training takes), are then those of one process with all W * B pictures.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def process_count() -> int:
    """W: processes that train together; 1 if torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Number of this process, 0..W-1."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def concat_all(tensor: Tensor) -> Tensor:
    """[B, ...] of every process to [W * B, ...] in order of rank, on every process.

    Gradients flow back to the process that a row came from, summed over all that used it.
    """
    if process_count() == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    """torch's own gather with gradients is deprecated, and differs between backends."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        ctx.start, ctx.stop = process_rank() * len(tensor), (process_rank() + 1) * len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(process_count())]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.stop]


def own_columns(count: int, device: torch.device) -> Tensor:
    """Where this process's `count` pictures stand among those of `concat_all`: int64 [count]."""
    return torch.arange(count, device=device) + process_rank() * count


def cosines(q: Tensor, k: Tensor) -> Tensor:
    """Cosines of this process's q [B, D] and every process's k [B, D]: float32 [B, W * B].

    float32 also under autocast: bf16 keeps 8 bits of a cosine, too few near 1.
    """
    with torch.autocast(q.device.type, enabled=False):
        return F.normalize(q.float(), dim=1) @ concat_all(F.normalize(k.float(), dim=1)).T


def info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """C(q, k) = 2 T * cross-entropy of cosine(q_i, k_j) / T with target j = i; float32 scalar.

    q, k: [B, D], row i of both from one picture; the other rows of k are the negatives.
    temperature: T. The factor keeps the size of the gradient when T changes, as in MoCo v3
        (Chen et al. 2021, algorithm 1).
    Gradients go to q and to k; detach what is not to be trained.
    """
    logits = cosines(q, k)
    with torch.autocast(q.device.type, enabled=False):
        targets = own_columns(len(q), q.device)
        return 2 * temperature * F.cross_entropy(logits / temperature, targets)
