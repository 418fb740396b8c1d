"""How other programs name a backbone's weights: checkpoint layouts, recognized by content.

One row of `LAYOUTS` per family, recognized by the names of the tensors. Prefixes after those of
the published code: MoCo (`encoder_q.`), MoCo v3 (`base_encoder.` beside `momentum_encoder.`),
DINO (`backbone.` inside `teacher`), CLIP and open_clip (`visual.`), solo-learn and lightly
(`backbone.`), lightly-train (a chain that ends in `wrapped_model._model.`). Files of Hugging Face's
transformers are first translated (see `transformers_names.py`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from cvgssl.encoders.containers import FileContents
from cvgssl.encoders.normalization import CLIP, HALF, IMAGENET, Normalization
from cvgssl.encoders.renaming import (
    Weights,
    from_children,
    from_efficientnet_pytorch,
    from_torchvision_vit,
)
from cvgssl.encoders.transformers_names import (
    from_clip,
    from_dinov3,
    from_siglip,
    from_vit,
    under_prefix,
)

_WRAPPED = r"wrapped_model\._model\."
_TEACHER = rf"teacher\w*\.{_WRAPPED}"
_PATCHES = "embeddings.patch_embeddings.projection.weight"
_PROBE = r"^(?:vision_model\.)?head\.probe$|^text_model\.head\.weight$"
_CLASS = r"^(?:vision_model\.)?embeddings\.class_embedding$|^text_model\.final_layer_norm\.weight$"
_CLIP_NUMBERS = {"input_resolution", "context_length", "vocab_size"}


@dataclass(frozen=True)
class Layout:
    """A family of checkpoints: how it is recognized, and what holds for all of it.

    matches: whether a file is of the family, by its names (wrappers removed) and whole contents.
    prefix: what the backbone's names begin with; a regular expression.
    normalization: that the family trains with; None: timm knows it by the architecture.
    rename: brings what follows the prefix to timm's names, where they differ.
    translate: first brings all names of a file to those that the other fields are about.
    keeps_prefix: timm's own converter of this family wants the names as they are.
    clip: a vision tower of CLIP, resized by bicubic interpolation.
    activation: of the blocks, where timm's architecture may have another: `quick_gelu`,
        `gelu_tanh`; None: the file does not say; empty: timm's is right.
    usual_activation: where the file does not say and no name says otherwise.
    model_types: in the config.json of transformers beside the file; empty: it is not read.
    text: options of the text tower, as open_clip names them, where the family has one of a kind.
    base: architecture of which others of the family differ in width, depth and patches only.
    siglip_key: a tensor of this name says SigLIP, whose mean and standard deviation are 0.5.
    attention_heads: by width, where they are not what timm's architecture of that width has.
    normalization_assumed: other families have such files too; the log says what is assumed.
    names_arch: the architecture that the file names is always right.
    """

    name: str
    matches: Callable[[Weights, FileContents], bool]
    prefix: str
    normalization: Normalization | None
    rename: Callable[[Weights], dict[str, Tensor]] = dict
    translate: Callable[[Weights], Weights] = dict
    keeps_prefix: bool = False
    clip: bool = False
    activation: str | None = ""
    usual_activation: str = ""
    model_types: frozenset[str] = frozenset()
    text: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    siglip_key: str = ""
    attention_heads: Mapping[int, int] = field(default_factory=dict)
    normalization_assumed: bool = False
    names_arch: bool = False


def _starts(*prefixes: str) -> Callable[[Weights, FileContents], bool]:
    return lambda weights, _: all(
        any(name.startswith(prefix) for name in weights) for prefix in prefixes
    )


def _contains(pattern: str) -> Callable[[Weights, FileContents], bool]:
    return lambda weights, _: any(re.search(pattern, name) for name in weights)


def _has(*names: str) -> Callable[[Weights, FileContents], bool]:
    return lambda weights, _: all(
        any(name.endswith(wanted) for name in weights) for wanted in names
    )


def _is_openai(weights: Weights, contents: FileContents) -> bool:
    """OpenAI's files are archives, carry three numbers, or mix float16 with float32 norms."""
    if "visual.conv1.weight" not in weights:
        return False
    half = weights["visual.conv1.weight"].element_size() == 2
    norm = weights.get("visual.ln_pre.weight", weights.get("visual.bn1.weight"))
    mixed = half and norm is not None and norm.element_size() == 4
    return contents.container == "torchscript" or mixed or bool(_CLIP_NUMBERS & weights.keys())


def _is_headless_vit(weights: Weights, _: FileContents) -> bool:
    plain = "patch_embed.proj.weight" in weights and "cls_token" in weights
    return plain and not any(name.startswith(("head", "norm_pre", "fc_norm")) for name in weights)


def _any(_weights: Weights, _contents: FileContents) -> bool:
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
        "OpenAI CLIP",
        _is_openai,
        r"visual\.",
        CLIP,
        keeps_prefix=True,
        clip=True,
        activation="quick_gelu",
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
        activation=None,
        siglip_key="logit_bias",
    ),
    Layout(
        "DINO",
        lambda weights, contents: (
            contents.network in ("teacher", "student") and _starts("backbone.")(weights, contents)
        ),
        r"backbone\.",
        IMAGENET,
    ),
    Layout(
        "I-JEPA",
        lambda weights, contents: (
            contents.network == "target_encoder" and "patch_embed.proj.weight" in weights
        ),
        "",
        IMAGENET,
    ),
    Layout(
        "transformers SigLIP",
        lambda weights, _: any(re.search(_PROBE, name) for name in weights),
        r"visual\.trunk\.",
        HALF,
        translate=from_siglip,
        clip=True,
        activation="gelu_tanh",
        base="vit_base_patch16_siglip_224",
        text={"no_causal_mask": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}},
        model_types=frozenset({"siglip", "siglip_vision_model", "siglip_text_model"}),
    ),
    Layout(
        "transformers CLIP",
        lambda weights, _: any(re.search(_CLASS, name) for name in weights),
        r"visual\.",
        CLIP,
        translate=from_clip,
        keeps_prefix=True,
        clip=True,
        activation=None,
        usual_activation="quick_gelu",
        base="vit_base_patch16_clip_224",
        model_types=frozenset({"clip", "clip_vision_model", "clip_text_model"}),
    ),
    Layout(
        "transformers DINOv3",
        _has("embeddings.patch_embeddings.weight", "embeddings.register_tokens"),
        r"backbone\.",
        IMAGENET,
        translate=under_prefix("embeddings.patch_embeddings.weight", from_dinov3),
        base="vit_small_patch16_dinov3",
        model_types=frozenset({"dinov3_vit"}),
    ),
    Layout(
        "transformers DINOv2",
        _has(_PATCHES, "layer.0.norm1.weight"),
        r"backbone\.",
        IMAGENET,
        translate=under_prefix(_PATCHES, from_vit),
        base="vit_small_patch14_dinov2",
        model_types=frozenset({"dinov2", "dinov2_with_registers"}),
    ),
    Layout(
        "transformers ViT-MAE",
        _has(_PATCHES, "decoder.mask_token"),
        r"backbone\.",
        IMAGENET,
        translate=under_prefix(_PATCHES, from_vit),
        base="vit_base_patch16_224",
        model_types=frozenset({"vit_mae"}),
    ),
    Layout(
        "transformers ViT",
        _has(_PATCHES),
        r"backbone\.",
        None,
        translate=under_prefix(_PATCHES, from_vit),
        base="vit_base_patch16_224",
        model_types=frozenset({"vit", "vit_mae", "vit_msn", "dinov2"}),
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
        "EfficientNet-PyTorch",
        _starts("_conv_stem.", "_blocks.0."),
        "",
        None,
        from_efficientnet_pytorch,
    ),
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
