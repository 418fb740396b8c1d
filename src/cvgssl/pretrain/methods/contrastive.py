"""InfoNCE over the pictures of all processes.

Shape letters: B pictures of one process's batch, W processes, D width. Every process must have
the same number of pictures. The mean of a loss over processes, and the mean of its gradients
(which distributed training takes), are then those of one process with all W * B pictures.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def process_count() -> int:
    """W, the number of processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Rank of this process, 0..W-1; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def concat_all(tensor: Tensor) -> Tensor:
    """[B, ...] of every process to [W * B, ...] in order of rank, on every process.

    The gradient of a row is summed over the processes that used it, on the process it came from.
    """
    if process_count() == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    """All-gather with gradients; torch's own is deprecated and differs between backends."""

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
    """Int64 [count]: the rows of this process's `count` pictures in the result of `concat_all`."""
    return torch.arange(count, device=device) + process_rank() * count


def cosines(q: Tensor, k: Tensor) -> Tensor:
    """Cosines of this process's q [B, D] and every process's k [B, D]: float32 [B, W * B].

    They are float32 also under autocast: bf16 has 8 bits of a cosine, too few near 1.
    """
    with torch.autocast(q.device.type, enabled=False):
        return F.normalize(q.float(), dim=1) @ concat_all(F.normalize(k.float(), dim=1)).T


def info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """C(q, k) = 2 T * cross-entropy of cosine(q_i, k_j) / T with target j = i; float32 scalar.

    q, k: [B, D], row i of both from one picture; the other rows of k are the negatives.
    temperature: T, above 0. The factor 2 T keeps the gradient's magnitude when T changes, as in
        MoCo v3 (Chen et al. 2021, algorithm 1). InfoNCE: van den Oord et al. 2018.
    Both q and k get gradients; detach what is not to be trained.
    """
    logits = cosines(q, k)
    with torch.autocast(q.device.type, enabled=False):
        targets = own_columns(len(q), q.device)
        return 2 * temperature * F.cross_entropy(logits / temperature, targets)
