"""Names of other programs' networks to timm's: ResNets cut into children, torchvision's ViT."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
"""Tensors by name."""

_RESNET_CHILDREN = {"0": "conv1", "1": "bn1"} | {str(n): f"layer{n - 3}" for n in (4, 5, 6, 7)}

_TORCHVISION_VIT = (
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.(?:head\.)?", "head."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
)


def from_children(weights: Weights) -> dict[str, Tensor]:
    """A ResNet cut into `nn.Sequential(*children)`, as in lightly's examples, to named layers."""
    renamed = {}
    for name, tensor in weights.items():
        first, dot, rest = name.partition(".")
        renamed[_RESNET_CHILDREN.get(first, first) + dot + rest] = tensor
    return renamed


def from_torchvision_vit(weights: Weights) -> dict[str, Tensor]:
    """torchvision's VisionTransformer to timm's."""
    renamed = {}
    for name, tensor in weights.items():
        for pattern, new in _TORCHVISION_VIT:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor
    return renamed


def to_three_channels(weight: Tensor) -> Tensor:
    """First convolution [O, 1, H, W] of gray pictures to [O, 3, H, W]: equal features for gray."""
    return torch.cat([weight / 3] * 3, dim=1)
