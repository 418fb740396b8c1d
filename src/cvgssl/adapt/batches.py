"""How the labelled pictures of an epoch are divided into batches that a network can train on.

Batch norm needs two values of every channel. A batch of one picture gives just one where nothing
of the picture's area is left: after pooling, or in the last layers at small sizes.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.data import Task
from cvgssl.adapt.model_source import ModelSource
from cvgssl.adapt.network import train_mode
from cvgssl.adapt.pseudo_labels import beside
from cvgssl.encoders.forward import Inputs, take
from cvgssl.runtime.errors import UserError


def least_batch(config: AdaptConfig, task: Task, source: ModelSource, processes: int) -> int:
    """The fewest labelled pictures that a batch may have, of all processes.

    Raises UserError when --batch-size, or the support of a draw, is smaller.
    """
    least, why = processes, f"{processes} processes need a picture each"
    sizes = {len(rows) % config.batch_size or config.batch_size for rows in task.support_rows}
    if isinstance(config, FinetuneConfig) and processes == 1 and 1 in sizes:
        unlabelled = beside(1, config.labelled_share) if config.pseudo_labels else 0
        if unlabelled == 0 and needs_two(source.recognizer(1), task.loaded.train.pixels):
            least, why = 2, f"the batch norm of {config.arch} needs two pictures"
    if config.batch_size < least:
        raise UserError(f"--batch-size {config.batch_size}: {why}; take at least {least}")
    fewest = min(map(len, task.support_rows))
    if fewest < least:
        raise UserError(f"{fewest} labelled pictures are too few: {why}")
    return least


def split_batches(rows: Tensor, size: int, least: int) -> list[Tensor]:
    """Rows [N] in batches of `size`; a rest of fewer than `least` joins the batch before it."""
    batches = list(torch.split(rows, size))
    if len(batches[-1]) < least:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def needs_two(model: nn.Module, pixels: Inputs) -> bool:
    """Whether batch norm in training would see a single value per channel of a single picture.

    pixels: uint8 [N, C, S, S]; the first picture goes through the model, which does not change.
    """
    train_mode(model)
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    single = False

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal single
        single |= inputs[0].numel() == inputs[0].shape[1]

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    model.eval()
    if norms:
        with torch.no_grad():
            model(take(pixels, torch.zeros(1, dtype=torch.int64), torch.device("cpu")))
    for hook in hooks:
        hook.remove()
    return single
