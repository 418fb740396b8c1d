"""How other programs name a backbone's weights: checkpoint layouts, recognized by content.

One row of `LAYOUTS` per family, recognized by the names of the tensors. Prefixes after those of
the published code: MoCo (`encoder_q.`), MoCo v3 (`base_encoder.` beside `momentum_encoder.`),
DINO (`backbone.` inside `teacher`), CLIP and open_clip (`visual.`), solo-learn and lightly
(`backbone.`), lightly-train (a chain that ends in `wrapped_model._model.`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cvgssl.encoders.containers import Contents
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET, Normalization
from cvgssl.encoders.weights_card import WeightsCard
from cvgssl.runtime.extensions import extensions

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


def from_children(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ResNet cut into `nn.Sequential(*children)`, as in lightly's examples, to named layers."""
    renamed = {}
    for name, tensor in weights.items():
        first, dot, rest = name.partition(".")
        renamed[_RESNET_CHILDREN.get(first, first) + dot + rest] = tensor
    return renamed


def from_torchvision_vit(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
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


Weights = Mapping[str, Tensor]

# Names under which a dictionary of weights is kept in a larger one, best first.
_NESTED = ("state_dict_ema", "state_dict", "teacher", "model_state_dict", "model", "student")
_WRAPPERS = ("module.", "_orig_mod.")
_WRAPPED = r"wrapped_model\._model\."
_TEACHER = rf"teacher\w*\.{_WRAPPED}"
_HEAD = "visual.head."
_CLIP_NUMBERS = {"input_resolution", "context_length", "vocab_size"}


@dataclass(frozen=True)
class Layout:
    """A family of checkpoints: how it is recognized, and what holds for all of it.

    matches: whether a file is of the family, by its names (wrappers removed) and whole contents.
    prefix: what the backbone's names begin with; a regular expression.
    normalization: that the family trains with; None: timm knows it by the architecture.
    rename: brings what follows the prefix to timm's names, where they differ.
    keeps_prefix: timm's own converter of this family wants the names as they are.
    clip: a vision tower of CLIP, resized by bicubic interpolation.
    quick_gelu: transformers have QuickGELU; None: the file does not tell whether.
    siglip_key: a tensor of this name says SigLIP, whose mean and standard deviation are 0.5.
    attention_heads: by width, where they are not what timm's architecture of that width has.
    normalization_assumed: other families have such files too; the log says what is assumed.
    names_arch: the architecture that the file names is always right.
    """

    name: str
    matches: Callable[[Weights, Contents], bool]
    prefix: str
    normalization: Normalization | None
    rename: Callable[[Weights], dict[str, Tensor]] = dict
    keeps_prefix: bool = False
    clip: bool = False
    quick_gelu: bool | None = False
    siglip_key: str = ""
    attention_heads: Mapping[int, int] = field(default_factory=dict)
    normalization_assumed: bool = False
    names_arch: bool = False


@dataclass(frozen=True)
class BackboneFile:
    """A file's backbone.

    weights: its tensors under timm's names (CLIP's own names for the CLIP layouts).
    left: names of all other tensors: heads, text towers, momentum copies.
    arch: the architecture that the file itself names, if any.
    head: what open_clip puts behind a tower of timm, names without `visual.head.`.
    card: what cvgssl wrote into the file.
    """

    layout: Layout
    weights: dict[str, Tensor]
    left: tuple[str, ...]
    normalization: Normalization | None
    arch: str | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    card: WeightsCard = field(default_factory=WeightsCard)


def _starts(*prefixes: str) -> Callable[[Weights, Contents], bool]:
    return lambda weights, _: all(
        any(name.startswith(prefix) for name in weights) for prefix in prefixes
    )


def _contains(pattern: str) -> Callable[[Weights, Contents], bool]:
    return lambda weights, _: any(re.search(pattern, name) for name in weights)


def _is_openai(weights: Weights, contents: Contents) -> bool:
    """OpenAI's files are archives, carry three numbers, or mix float16 with float32 norms."""
    if "visual.conv1.weight" not in weights:
        return False
    half = weights["visual.conv1.weight"].element_size() == 2
    norm = weights.get("visual.ln_pre.weight", weights.get("visual.bn1.weight"))
    mixed = half and norm is not None and norm.element_size() == 4
    return contents.container == "torchscript" or mixed or bool(_CLIP_NUMBERS & weights.keys())


def _is_headless_vit(weights: Weights, _: Contents) -> bool:
    plain = "patch_embed.proj.weight" in weights and "cls_token" in weights
    return plain and not any(name.startswith(("head", "norm_pre", "fc_norm")) for name in weights)


def _any(_weights: Weights, _contents: Contents) -> bool:
    return True


LAYOUTS = (
    Layout("cvgssl model", _starts("backbone.body."), r"backbone\.body\.", HALF, names_arch=True),
    Layout(
        "MoCo v3",
        _starts("base_encoder.", "momentum_encoder."),
        r"base_encoder\.",
        IMAGENET,
        attention_heads={384: 12},
    ),
    Layout("CVGSSL", _starts("base_encoder."), r"base_encoder\.", HALF),
    Layout("MoCo v1/v2", _starts("encoder_q."), r"encoder_q\.", IMAGENET),
    Layout(
        "OpenAI CLIP", _is_openai, r"visual\.", CLIP, keeps_prefix=True, clip=True, quick_gelu=True
    ),
    Layout(
        "open_clip, timm tower",
        _starts("visual.trunk."),
        r"visual\.trunk\.",
        CLIP,
        clip=True,
        siglip_key="logit_bias",
    ),
    Layout(
        "open_clip",
        _starts("visual."),
        r"visual\.",
        CLIP,
        keeps_prefix=True,
        clip=True,
        quick_gelu=None,
        siglip_key="logit_bias",
    ),
    Layout(
        "DINO",
        lambda weights, contents: (
            bool({"teacher", "student"} & contents.tree.keys())
            and _starts("backbone.")(weights, contents)
        ),
        r"backbone\.",
        IMAGENET,
    ),
    Layout("lightly-train", _contains(_TEACHER), rf".*{_TEACHER}", IMAGENET),
    Layout("lightly-train", _contains(_WRAPPED), rf".*{_WRAPPED}", IMAGENET),
    Layout(
        "lightly",
        _starts("backbone.0.", "backbone.4.0."),
        r"backbone\.",
        IMAGENET,
        from_children,
    ),
    Layout("Lightning (solo-learn, lightly)", _starts("backbone."), r"backbone\.", IMAGENET),
    Layout(
        "Lightning (solo-learn before 1.0)",
        lambda weights, contents: (
            "pytorch-lightning_version" in contents.tree and _starts("encoder.")(weights, contents)
        ),
        r"encoder\.",
        IMAGENET,
    ),
    Layout(
        "torchvision ViT",
        _starts("conv_proj.", "encoder.layers.encoder_layer_0."),
        "",
        IMAGENET,
        from_torchvision_vit,
    ),
    Layout("torchvision", _starts("features."), "", IMAGENET),
    Layout(
        "ViT without classifier (as DINO publishes it)",
        _is_headless_vit,
        "",
        IMAGENET,
        normalization_assumed=True,
    ),
    Layout("timm or torchvision", _starts("layer1.0.conv1.", "fc."), "", None),
    Layout("timm", _any, "", None),
)


def find_backbone(contents: Contents) -> BackboneFile | None:
    """Recognise a file's layout and take its backbone out; None when it holds no weights.

    Layouts that other packages register (entry points of the group `cvgssl.layouts`) come first.
    """
    weights = all_weights(contents)
    if not weights:
        return None
    known: list[Layout] = [*extensions("cvgssl.layouts").values(), *LAYOUTS]
    layout = next(row for row in known if row.matches(weights, contents))
    inside, left = _take(weights, layout)
    normalization = layout.normalization
    card = contents.card
    if card.normalization is not None:
        normalization = card.normalization
    elif layout.siglip_key and layout.siglip_key in weights:
        normalization = HALF
    arch = contents.tree.get("arch")
    named = arch if isinstance(arch, str) else card.arch
    head = {
        name.removeprefix(_HEAD): tensor
        for name, tensor in weights.items()
        if name.startswith(_HEAD)
    }
    return BackboneFile(layout, layout.rename(inside), left, normalization, named, head, card)


def all_weights(contents: Contents) -> dict[str, Tensor]:
    """All tensors of a file, without the prefixes of data-parallel and compiled models."""
    return _unwrap(_state_dict(contents.tree))


def _take(weights: Weights, layout: Layout) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    inside: dict[str, Tensor] = {}
    left = []
    chosen = None  # several copies of a backbone may fit the pattern: the first one is taken
    for name, tensor in weights.items():
        match = re.match(layout.prefix, name)
        if match is None or chosen not in (None, match[0]):
            left.append(name)
            continue
        chosen = match[0]
        inside[name if layout.keeps_prefix else name[match.end() :]] = tensor
    return inside, tuple(left)


def _state_dict(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """The dictionary of weights in a file's tree."""
    for key in _NESTED:
        value = tree.get(key)
        if value is tree:  # a dictionary that contains itself
            continue
        if isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values()):
            return _state_dict(value)
    return {str(name): value for name, value in tree.items() if isinstance(value, Tensor)}


def _unwrap(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that data-parallel and compiled models put before every name."""
    for wrapper in (*_WRAPPERS, *_WRAPPERS):
        if weights and all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights
