"""Optimizers of pre-training and their learning rates."""

import math

import torch
from torch import nn

from cvgssl.encoders.timm_import import timm
from cvgssl.pretrain.config import PretrainConfig


def build_optimizer(method: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimizer over every parameter that is trained.

    As published, weight decay holds for all of them; AdamW and LARS leave out biases and norms,
    which LARS (You et al. 2017) would scale to nothing.
    """
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            trained, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    if config.optimizer == "adam":
        return torch.optim.Adam(trained, config.lr, weight_decay=config.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.lr)
    lars: torch.optim.Optimizer = timm.optim.Lars(  # type: ignore[attr-defined]
        groups, config.lr, momentum=config.momentum
    )
    return lars


def learning_rate(config: PretrainConfig, progress: float) -> float:
    """The rate after `progress` epochs (0..epochs, fractions count).

    Rises linearly over the warm-up, then falls to 0 as half a cosine (Loshchilov & Hutter 2017).
    With `scale_lr` the highest rate is lr * batch size / 256 (Goyal et al. 2017).
    """
    top = config.lr * (config.batch_size / 256 if config.scale_lr else 1)
    warmup = config.warmup_epochs
    if progress < warmup:
        return top * progress / warmup
    share = (progress - warmup) / (config.epochs - warmup)
    return top * 0.5 * (1 + math.cos(math.pi * share))
