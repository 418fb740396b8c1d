"""LoRA: a frozen weight and a trained low-rank update of it (Hu et al. 2022, ICLR).

Shape letters: O numbers out and I numbers in of a linear layer, R rank.
"""

import copy
import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvgssl.runtime.errors import UserError

# query, key, value and output of attention, as timm's transformers call them
_ATTENTION = re.compile(r"(^|\.)attn\.(qkv|kv|[qkv]|[qkv]_proj|proj|out_proj)$")


class LowRankLinear(nn.Module):
    """A linear layer of weight W + alpha / R * up @ down; only `up` and `down` are trained.

    down: [R, I], uniform within 1 / sqrt(I) as in the authors' code. up: [O, R], zero at the
    start, so the layer begins as `base`. (torch's parametrizations would do the same, but share a
    class among copies: merging one of them spoils the others.)
    """

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        rows, columns = base.weight.shape
        bound = columns**-0.5
        down = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(down.to(base.weight))
        self.up = nn.Parameter(base.weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    @property
    def weight(self) -> Tensor:
        """The updated weight [O, I], summed in full precision also where layers are not."""
        with torch.autocast(self.up.device.type, enabled=False):
            return torch.addmm(self.base.weight, self.up, self.down, alpha=self.scale)

    @property
    def bias(self) -> Tensor | None:
        """That of the layer, [O]."""
        return self.base.bias

    def forward(self, rows: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return F.linear(rows, self.weight, self.bias)

    def merged(self) -> nn.Linear:
        """A plain layer of the updated weight."""
        plain = copy.deepcopy(self.base)
        plain.weight = nn.Parameter(self.weight.detach())
        return plain


def attention_layers(body: nn.Module, arch: str, rank: int) -> list[str]:
    """Names of the linear layers of attention that get updates of `rank`.

    A fused layer of queries, keys and values gets one update. Raises UserError when there are
    none, or when the rank is not lower than theirs.
    """
    layers = {
        name: module
        for name, module in body.named_modules()
        if isinstance(module, nn.Linear) and _ATTENTION.search(name)
    }
    if not layers:
        raise UserError(
            f"--trainable lora:{rank}: {arch} has no attention layers; LoRA is for transformers "
            "such as vit_tiny_patch16_224, take norm or blocks:N here"
        )
    least = min(min(layer.weight.shape) for layer in layers.values())
    if rank >= least:
        raise UserError(
            f"--trainable lora:{rank}: the attention layers of {arch} are {least} wide; take a "
            "rank far below that, such as 8"
        )
    return list(layers)


def add_updates(
    body: nn.Module, layers: list[str], rank: int, alpha: float, generator: torch.Generator
) -> None:
    """Put an update on the weight of each of `layers`, in place; outputs stay what they were."""
    for name in layers:
        base = body.get_submodule(name)
        assert isinstance(base, nn.Linear)
        body.set_submodule(name, LowRankLinear(base, rank, alpha, generator))


def merged(model: nn.Module) -> nn.Module:
    """`model` with its updates added to the weights: a copy, or itself if it has none."""
    if not any(isinstance(module, LowRankLinear) for module in model.modules()):
        return model
    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if isinstance(module, LowRankLinear):
            plain.set_submodule(name, module.merged())
    return plain
