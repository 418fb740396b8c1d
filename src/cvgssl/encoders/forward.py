"""A module over all pictures (or features), batch by batch, shared among processes.

Shapes: N pictures, D numbers out for each.
"""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from cvgssl.runtime.launch import to_device

Inputs = Tensor | NDArray[np.uint8]
"""float features [N, D] or uint8 pictures [N, C, S, S], in memory or memory-mapped."""


def take(inputs: Inputs, rows: Tensor, device: torch.device) -> Tensor:
    """The rows (int64 [B], on the CPU) of `inputs`, on `device`."""
    if isinstance(inputs, Tensor):
        return inputs[rows.to(inputs.device)].to(device)
    return to_device(torch.from_numpy(inputs[rows.numpy()]), device)


@torch.no_grad()
def forward_all(
    module: nn.Module,
    inputs: Inputs,
    batch_size: int,
    accelerator: Accelerator,
    advance: Callable[[int], None] = lambda _n: None,
) -> Tensor:
    """`module` in eval mode over all N inputs: float32 [N, D] on the device, in every process.

    Each process computes every world-size-th row once; rows of others count as zero in a sum
    over the processes, so the result is exact and nothing is counted twice.
    """
    was_training = module.training
    module.eval()
    world, rank, total = accelerator.num_processes, accelerator.process_index, len(inputs)
    mine = torch.arange(rank, total, world)
    parts = []
    for rows in torch.split(mine, batch_size):
        with accelerator.autocast():
            parts.append(module(take(inputs, rows, accelerator.device)).float())
        advance(min(len(rows) * world, total))
    module.train(was_training)
    if world == 1:
        return torch.cat(parts)
    width = torch.tensor(parts[0].shape[1] if parts else 0, device=accelerator.device)
    width = accelerator.gather(width.view(1)).max()
    outputs = torch.zeros(total, int(width), device=accelerator.device)
    if parts:
        outputs[mine.to(accelerator.device)] = torch.cat(parts)
    summed: Tensor = accelerator.reduce(outputs, "sum")
    return summed
