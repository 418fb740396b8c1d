"""The network that is adapted: which of its parameters are trained, and how fast each.

Shape letters: B pictures, C channels (1 or 3), S side in pixels, D features, K classes.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig, Trainable
from cvgssl.adapt.lora import add_updates, attention_layers
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.timm_import import group_parameters, timm_optimizers
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.schedule import cosine


class Recognizer(nn.Module):
    """Pictures to class scores: uint8 [B, C, S, S] to logits float [B, K]."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = new_head(backbone.feature_dim, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, K] of uint8 pictures [B, C, S, S]."""
        logits: Tensor = self.head(self.backbone(pixels))
        return logits


def new_head(features: int, classes: int, generator: torch.Generator | None = None) -> nn.Linear:
    """A linear classifier: weights normal with standard deviation 0.01, bias zero (MoCo)."""
    head = nn.Linear(features, classes)
    nn.init.normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    return head


@dataclass(frozen=True)
class TrainablePart:
    """The part of a backbone that is trained.

    tensors: names of parameters of the backbone's body that change themselves.
    layers: names of its linear layers that get low-rank updates of `rank`, scaled by alpha / rank.
    """

    tensors: frozenset[str]
    layers: list[str] = field(default_factory=list)
    rank: int = 0
    alpha: float = 0.0


def choose_part(backbone: Backbone, trainable: Trainable, alpha: float) -> TrainablePart:
    """What `--trainable` means for this network; raises UserError where it means nothing."""
    body, arch = backbone.body, backbone.arch
    could = {name for name, tensor in body.named_parameters() if tensor.requires_grad}
    if trainable.kind == "lora":
        layers = attention_layers(body, arch, trainable.number)
        return TrainablePart(frozenset(), layers, trainable.number, alpha)
    if trainable.kind == "norm":
        return TrainablePart(frozenset(_normalization(body, arch) & could))
    if trainable.kind == "blocks":
        return TrainablePart(frozenset(_last_blocks(body, arch, trainable.number) & could))
    return TrainablePart(frozenset(could if trainable.kind == "all" else ()))


def train_only(recognizer: Recognizer, part: TrainablePart, generator: torch.Generator) -> None:
    """Freeze, in place, all of the backbone but `part`; low-rank updates begin at zero."""
    body = recognizer.backbone.body
    for name, tensor in body.named_parameters():
        tensor.requires_grad_(name in part.tensors)
    add_updates(body, part.layers, part.rank, part.alpha, generator)


def train_mode(model: nn.Module) -> None:
    """`model.train()`, but batch norm of which nothing is trained keeps its statistics."""
    model.train()
    if all(tensor.requires_grad for tensor in model.parameters()):
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(any(tensor.requires_grad for tensor in module.parameters()))


def count_trained(model: nn.Module) -> str:
    """Text that says how many of the model's weights are trained."""
    total = sum(tensor.numel() for tensor in model.parameters())
    trained = sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    return f"{trained:,} of {total:,} weights"


def _normalization(body: nn.Module, arch: str) -> set[str]:
    names = {
        f"{name}.{parameter}"
        for name, module in body.named_modules()
        if "norm" in type(module).__name__.lower()
        for parameter, _ in module.named_parameters(recurse=False)
    }
    if not names:
        raise UserError(f"--trainable norm: {arch} has no normalisation layers; take blocks:N")
    return names


def _last_blocks(body: nn.Module, arch: str, number: int) -> set[str]:
    """The last blocks, as timm counts them, and all that follows."""
    flag = f"--trainable blocks:{number}"
    matcher = getattr(body, "group_matcher", None)
    if matcher is None:
        raise UserError(f"{flag}: {arch} does not name its blocks; take all or head")
    groups = group_parameters(body, matcher(coarse=False))
    ordered = [groups[place] for place in sorted(groups)]
    blocks = [  # names of a stem, a last norm or a pooling have no index
        place for place, names in enumerate(ordered) if re.search(r"\.\d+\.", names[0])
    ]
    if number > len(blocks):
        raise UserError(f"{flag}: {arch} has {len(blocks)}")
    return {name for names in ordered[blocks[-number] :] for name in names}


def adaptation_optimizer(model: nn.Module, config: AdaptConfig) -> torch.optim.Optimizer:
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
    """Cosine decay by epoch from every group's `initial_lr` to 0."""
    factor = cosine(epoch, epochs)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _groups(model: nn.Module, config: AdaptConfig) -> list[dict[str, Any]]:
    decay = config.layer_decay if isinstance(config, FinetuneConfig) else 1.0
    if decay == 1.0:
        return [{"params": [tensor for tensor in model.parameters() if tensor.requires_grad]}]
    assert isinstance(model, Recognizer)
    body = model.backbone.body
    if not hasattr(body, "group_matcher"):
        raise UserError(f"--layer-decay: {config.arch} does not name its layers; leave it out")
    groups: list[dict[str, Any]] = timm_optimizers().param_groups_layer_decay(
        body,
        weight_decay=config.weight_decay,
        weight_decay_exclude_1d=False,
        layer_decay=decay,
    )
    return [*groups, {"params": list(model.head.parameters())}]
