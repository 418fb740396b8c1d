"""Names that Hugging Face's `transformers` gives to weights, to those of timm and OpenAI's CLIP.

Each function takes all tensors of a file, as `save_pretrained` writes them or as `state_dict()`
of transformers 5 names them, and gives the same numbers under names that the rest of this
package reads. Shape letters: D width, W joint space, N positions.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from cvgssl.encoders.renaming import Weights

Rename = Callable[[Weights], dict[str, Tensor]]
Rules = tuple[tuple[str, str], ...]

_QKV = re.compile(r"(.*?\.)(?:attention\.attention\.|attention\.|self_attn\.)"
                  r"(query|key|value|[qkv]_proj)\.(weight|bias)$")  # fmt: skip

_TEXT: Rules = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
)
_CLIP: Rules = (
    *_TEXT,
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_lay(?:er)?r?norm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"^text_projection\.weight$", "text_projection"),
)
_CLIP_BLOCK: Rules = (
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.attn\.qkv\.(weight|bias)$", r".attn.in_proj_\1"),
)
_SIGLIP: Rules = (
    *((pattern, "text." + new) for pattern, new in _TEXT),
    (r"^text_model\.head\.", "text.text_projection."),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.trunk.patch_embed.proj."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.trunk.pos_embed"),
    (r"^vision_model\.post_layernorm\.", "visual.trunk.norm."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm", r"visual.trunk.blocks.\1.norm"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.",
     r"visual.trunk.blocks.\1.attn.proj."),
    (r"^vision_model\.encoder\.layers\.", "visual.trunk.blocks."),
    (r"^vision_model\.head\.probe$", "visual.trunk.attn_pool.latent"),
    (r"^vision_model\.head\.attention\.out_proj\.", "visual.trunk.attn_pool.proj."),
    (r"^vision_model\.head\.layernorm\.", "visual.trunk.attn_pool.norm."),
    (r"^vision_model\.head\.mlp\.", "visual.trunk.attn_pool.mlp."),
)  # fmt: skip
_VIT: Rules = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.(?:projection\.)?", "patch_embed.proj."),
    (r"^(?:model\.|encoder\.)?layers?\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.(?:weights_out|down_proj)\.", ".mlp.fc2."),
)
_LAYER_SCALE: Rules = ((r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),)
_DINOV3: Rules = (
    *_VIT,
    (r"\.layer_scale([12])\.lambda1$", r".gamma_\1"),
    (r"\.mlp\.gate_proj\.", ".mlp.fc1_g."),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
)
_UNUSED = re.compile(r"(?:^|\.)(?:position_ids|mask_token)$")


def from_clip(weights: Weights) -> dict[str, Tensor]:
    """CLIP's vision and text towers to OpenAI's names; projections [W, D] to [D, W]."""
    named = _renamed(_joined(_whole_name(weights)), (*_CLIP, *_CLIP_BLOCK))
    for projection in ("visual.proj", "text_projection"):
        if projection in named and named[projection].ndim == 2:
            named[projection] = named[projection].T
    return named


def from_siglip(weights: Weights) -> dict[str, Tensor]:
    """SigLIP's towers to open_clip's names for a vision tower of timm's beside a text tower."""
    named = _renamed(_joined(_whole_name(weights)), _SIGLIP)
    named = {
        _each(name, _CLIP_BLOCK) if name.startswith("text.") else name: tensor
        for name, tensor in named.items()
    }
    if "visual.trunk.pos_embed" in named:
        named["visual.trunk.pos_embed"] = named["visual.trunk.pos_embed"][None]
    for kind in ("weight", "bias"):
        joined = named.pop(f"vision_model.head.attention.in_proj_{kind}", None)
        if joined is not None:
            query, *others = joined.chunk(3)
            named[f"visual.trunk.attn_pool.q.{kind}"] = query
            named[f"visual.trunk.attn_pool.kv.{kind}"] = torch.cat(others)
    return named


def from_vit(weights: Weights) -> dict[str, Tensor]:
    """ViT, the encoder of ViT-MAE, DINOv2 with and without registers, to timm's names.

    Registers come after the position embedding is added, so timm keeps the class token's position
    inside the token.
    """
    named = _renamed(_packed(_joined(weights)), (*_VIT, *_LAYER_SCALE))
    if "reg_token" in named and {"cls_token", "pos_embed"} <= named.keys():
        named["cls_token"] = named["cls_token"] + named["pos_embed"][:, :1]
        named["pos_embed"] = named["pos_embed"][:, 1:]
    return named


def from_dinov3(weights: Weights) -> dict[str, Tensor]:
    """DINOv3's transformer to timm's names.

    Keys have no bias there. Biases of queries and values that are zero throughout, as the
    distilled models have them, are left out: timm has an architecture without.
    """
    named = _renamed(_joined(weights), _DINOV3)
    if any(".mlp.fc1_g." in name for name in named):
        named = {name.replace(".mlp.fc1.", ".mlp.fc1_x."): value for name, value in named.items()}
    biases = [name for name in named if name.endswith((".attn.q_bias", ".attn.v_bias"))]
    if not any(bool(named[name].any()) for name in biases):
        named = {name: value for name, value in named.items() if name not in biases}
    return named


def under_prefix(key: str, rename: Rename) -> Rename:
    """`rename` for what shares the prefix of PREFIX + `key`, put under `backbone.`."""

    def renamed(weights: Weights) -> dict[str, Tensor]:
        prefix = next(name for name in weights if name.endswith(key)).removesuffix(key)
        inside, left = {}, {}
        for name, tensor in weights.items():
            if name.startswith(prefix):
                inside[name.removeprefix(prefix)] = tensor
            else:
                left[name] = tensor
        return {f"backbone.{name}": value for name, value in rename(inside).items()} | left

    return renamed


def _whole_name(weights: Weights) -> Weights:
    """A vision tower that was saved separately lacks its prefix."""
    if not any(name.startswith("embeddings.") for name in weights):
        return weights
    return {f"vision_model.{name}": tensor for name, tensor in weights.items()}


def _joined(weights: Weights) -> dict[str, Tensor]:
    """Queries, keys and values in one: `PREFIX.attn.qkv`; biases apart where keys have none."""
    result: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        if match := _QKV.match(name):
            parts.setdefault((match[1], match[3]), {})[match[2][0]] = tensor
        elif not _UNUSED.search(name):
            result[name] = tensor
    for (prefix, kind), three in parts.items():
        if three.keys() >= set("qkv") and len({part.shape[1:] for part in three.values()}) == 1:
            result[f"{prefix}attn.qkv.{kind}"] = torch.cat([three[part] for part in "qkv"])
        else:
            result |= {f"{prefix}attn.{part}_{kind}": tensor for part, tensor in three.items()}
    return result


def _packed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both halves of a gated MLP's first layer in one, as files have them (DINOv2's giants)."""
    for gate in [name for name in weights if ".mlp.gate_proj." in name]:
        value = weights.pop(gate.replace("gate_proj", "up_proj"), None)
        if value is not None:
            packed = torch.cat([weights.pop(gate), value])
            weights[gate.replace("gate_proj", "weights_in")] = packed
    return weights


def _renamed(weights: Weights, rules: Rules) -> dict[str, Tensor]:
    return {_each(name, rules): tensor for name, tensor in weights.items()}


def _each(name: str, rules: Rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name
