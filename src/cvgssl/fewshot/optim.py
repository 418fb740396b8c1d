"""Optimizers of few-shot training and their learning rates."""

import math
from typing import Any

import torch
from torch import nn

from cvgssl.encoders.timm_import import param_groups_layer_decay
from cvgssl.fewshot.config import AdaptConfig, FinetuneConfig
from cvgssl.fewshot.recognizer import Recognizer
from cvgssl.runtime.errors import UserError


def build_optimizer(model: nn.Module, config: AdaptConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over all that is trained; `initial_lr` is what the schedule scales."""
    groups = _groups(model, config)
    for group in groups:
        group["initial_lr"] = group["lr"] = config.lr * group.pop("lr_scale", 1.0)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, epoch: int, epochs: int) -> None:
    """Cosine decay by epoch, lr * (1 + cos(pi * epoch / epochs)) / 2 (Loshchilov & Hutter 2017)."""
    factor = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _groups(model: nn.Module, config: AdaptConfig) -> list[dict[str, Any]]:
    decay = config.layer_decay if isinstance(config, FinetuneConfig) else 1.0
    if decay == 1.0:
        return [{"params": [one for one in model.parameters() if one.requires_grad]}]
    assert isinstance(model, Recognizer)
    body = model.backbone.body
    if not hasattr(body, "group_matcher"):
        raise UserError(f"--layer-decay: {config.arch} does not tell its layers; leave it out")
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        body,
        weight_decay=config.weight_decay,
        weight_decay_exclude_1d=False,
        layer_decay=decay,
    )
    return [*groups, {"params": list(model.head.parameters())}]
