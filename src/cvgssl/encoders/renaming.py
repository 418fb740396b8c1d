"""Names of other programs' networks to timm's: lightly's, torchvision's, EfficientNet-PyTorch's."""

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

_EFFICIENTNET = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EFFICIENTNET_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_EFFICIENTNET_FIRST_BLOCK = _EFFICIENTNET_BLOCK | {
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


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


def from_efficientnet_pytorch(weights: Weights) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's names, whose blocks are counted through, to timm's, by stages."""
    places = _stages_of_blocks(weights)
    renamed = {}
    for name, tensor in weights.items():
        block = re.match(r"_blocks\.(\d+)\.", name)
        if block:
            expands = f"{block[0]}_expand_conv.weight" in weights
            parts = _EFFICIENTNET_BLOCK if expands else _EFFICIENTNET_FIRST_BLOCK
            part, _, rest = name[block.end() :].partition(".")
            renamed[f"blocks.{places[block[1]]}.{parts.get(part, part)}.{rest}"] = tensor
        else:
            part, _, rest = name.partition(".")
            renamed[f"{_EFFICIENTNET.get(part, part)}.{rest}"] = tensor
    return renamed


def _stages_of_blocks(weights: Weights) -> dict[str, str]:
    """`3` to `2.0`: a stage begins with the block that gives another number of channels."""
    places = {}
    stage, place, channels = -1, 0, -1
    count = sum(re.fullmatch(r"_blocks\.\d+\._project_conv\.weight", name) is not None
                for name in weights)  # fmt: skip
    for number in map(str, range(count)):
        outputs = len(weights[f"_blocks.{number}._project_conv.weight"])
        stage, place = (stage, place + 1) if outputs == channels else (stage + 1, 0)
        channels = outputs
        places[number] = f"{stage}.{place}"
    return places


def to_three_channels(weight: Tensor) -> Tensor:
    """First convolution [O, 1, H, W] of gray pictures to [O, 3, H, W]: equal features for gray."""
    return torch.cat([weight / 3] * 3, dim=1)
