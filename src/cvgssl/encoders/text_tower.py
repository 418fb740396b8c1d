"""The text tower of a CLIP: sentences to the space that pictures and texts share.

Shape letters: N sentences, D numbers of the joint space.
"""

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cvgssl.encoders.activations import is_quick
from cvgssl.encoders.arch_of_weights import arch_of
from cvgssl.encoders.backbone_file import BackboneFile, find_backbone, read_weights, without_weights
from cvgssl.encoders.clip_names import clip_tower
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.locating import locate
from cvgssl.encoders.preprocessing import OpenClipConfig, open_clip_config
from cvgssl.encoders.shards import weights_digest
from cvgssl.encoders.text_tokens import ClipTokens, FileTokens, Tokens
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.transformers_config import TOKENIZER
from cvgssl.encoders.weight_matching import all_finite
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.parsing import parsing

_BATCH = 256


class TextTowerError(UserError):
    """The weights have no text tower that can be read, or it does not belong to the features."""


class TextTower(nn.Module):
    """Sentences to unit embeddings; never trained, on the CPU.

    file, sha256: of the weights. activation: `quick_gelu`, `gelu` or `gelu_tanh`.
    scale: what cosines are multiplied with before the softmax, as the CLIP learned it.
    """

    def __init__(
        self, body: nn.Module, tokens: Tokens, file: str, sha256: str, activation: str,
        scale: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        self.tokens = tokens
        self.file, self.sha256, self.activation, self.scale = file, sha256, activation, scale

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is QuickGELU."""
        return self.activation == "quick_gelu"

    @torch.inference_mode()
    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Float32 [N, D], rows of length 1; raises UserError for a sentence that is too long."""
        limit = int(cast(int, self.body.context_length))
        for sentence in sentences:
            count = self.tokens.count(sentence)
            if count > limit:
                raise UserError(
                    f"prompt {sentence[:60]!r}: {count} tokens, {limit} are read; shorten it"
                )
        parts = [
            self.body(self.tokens(sentences[first : first + _BATCH]))
            for first in range(0, len(sentences), _BATCH)
        ]
        return nn.functional.normalize(torch.cat(parts), dim=-1).clone()

    def identity(self) -> dict[str, Any]:
        """All that decides its embeddings, as JSON values."""
        return {"file": self.file, "sha256": self.sha256, "activation": self.activation}


VOCABULARY = 49408
"""Words of CLIP's tokenizer; other towers (SigLIP's) need tokenizer.json beside the weights."""
FLAG = "text"
_HEAD_WIDTH = 64
_MOST_PLACES = 4096  # CLIP has 77
_LARGEST_SCALE = 100.0  # CLIP's training keeps its scale below
_REMEDY = "give a file of the whole CLIP (OpenAI's .pt, or open_clip_model.safetensors)"
_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.",
          "text_projection", "cls_emb")  # fmt: skip
_FROM_SHAPES = {"context_length", "vocab_size", "width", "layers", "mlp_ratio"}
_TAKEN = {"heads", "no_causal_mask", "pool_type", "eos_id", "pad_id", "proj_type", "proj_bias"}
_ELSEWHERE = {"tokenizer_kwargs", "norm_kwargs"}  # read by other functions
_ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "quick_gelu": lambda: _open_clip().transformer.QuickGELU,
    "gelu": lambda: nn.GELU,
    "gelu_tanh": lambda: partial(nn.GELU, approximate="tanh"),
}


def load_text_tower(weights: str | EncoderSpec, folder: Path | None = None) -> TextTower:
    """The text tower of `NAME=FILE`, of FILE, or of NAME's file in the weights folder.

    The same notation as `--encoder`; folder: see `weights_folder`. Reads CLIP by OpenAI and
    open_clip's towers with CLIP's own tokenizer. A file by OpenAI has QuickGELU; for others the
    configuration beside the file or the name says, as for the vision tower.
    Raises TextTowerError where the file has none of these, UserError for any other trouble.
    """
    spec = weights if isinstance(weights, EncoderSpec) else parse_encoder(weights, FLAG, folder)
    with naming(f"{FLAG} {spec}"):
        if spec.file == RANDOM:
            raise TextTowerError(f"{RANDOM} has no text tower; {_REMEDY}")
        if not spec.name:
            return _read(find_weights(spec.file, folder))
        at = locate(spec, folder)
        return _read(at.path, spec.name, at.arch)


def _read(path: Path, name: str = "", arch: str = "") -> TextTower:
    contents = read_weights(path)
    backbone_file = find_backbone(contents)
    if backbone_file is None:
        raise TextTowerError(f"{path.name} {without_weights(contents)}")
    everything = backbone_file.everything
    custom = "text.token_embedding.weight" in everything
    prefix = "text." if custom else ""
    weights = _text_weights(everything, prefix)
    if "token_embedding.weight" not in weights:
        other = any(key.startswith("text.") for key in everything)
        kind = "a text tower of another kind than CLIP's" if other else "no text tower"
        raise TextTowerError(f"{path.name} has {kind}; {_REMEDY}")
    _check_shapes(path, weights)
    beside = open_clip_config(path)
    options = beside.text
    if backbone_file.layout.text:
        options = dict(backbone_file.layout.text)
    elif options is None:
        options = _by_name(name) if custom else {}
    heads = backbone_file.described.text.get("num_attention_heads")
    tokens = _tokens(path, weights, options or {}, bool(backbone_file.layout.text))
    if options is None:
        raise TextTowerError(
            f"{path.name} does not say how its text tower is built; keep open_clip_config.json "
            "beside it, or write NAME=FILE, such as EVA02-B-16=FILE"
        )
    activation = _activation(backbone_file, name, arch, beside)
    with parsing(path, "a text tower"):  # of shapes or options that open_clip cannot build
        body = _build(path, weights, options | ({"heads": heads} if heads else {}), activation)
    scale = everything.get("logit_scale")
    return TextTower(
        body,
        tokens,
        path.name,
        weights_digest(path),
        activation,
        _LARGEST_SCALE if scale is None else min(float(scale.exp().max()), _LARGEST_SCALE),
    )


def _check_shapes(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise TextTowerError unless the embeddings of words and places are those of a tower.

    The tower makes a mask of all places by all places.
    """
    words, places = weights["token_embedding.weight"], weights.get("positional_embedding")
    if places is None or not words.ndim == places.ndim == 2 or not places.numel():
        raise TextTowerError(f"{path.name} has a text tower without embeddings of places")
    if len(places) > _MOST_PLACES:
        raise TextTowerError(
            f"{path.name} has a text tower for {len(places):,} tokens; at most {_MOST_PLACES:,} "
            "are read"
        )


def _tokens(
    path: Path, weights: Mapping[str, Tensor], options: Mapping[str, Any], has_own: bool
) -> Tokens:
    """CLIP's tokenizer, or with `has_own` the tokenizer file beside the weights."""
    words, context = len(weights["token_embedding.weight"]), len(weights["positional_embedding"])
    beside = path.parent / TOKENIZER
    if has_own and beside.is_file():
        return FileTokens(beside, context, words)
    if has_own or words != VOCABULARY or options.get("hf_tokenizer_name"):
        remedy = (
            f"keep {TOKENIZER} beside it" if has_own else f"only CLIP's own ({VOCABULARY}) is read"
        )
        raise TextTowerError(
            f"{path.name} has a text tower with another tokenizer ({words} words); {remedy}"
        )
    further = dict(options.get("tokenizer_kwargs") or {})
    return ClipTokens(_clip_tokenizer(context, json.dumps(further)))


@lru_cache(maxsize=4)
def _clip_tokenizer(context: int, options: str) -> Any:
    """CLIP's, kept because reading its vocabulary takes longer than building a text tower.

    options: JSON of what its construction takes beside the length of the context.
    """
    return _open_clip().tokenizer.SimpleTokenizer(context_length=context, **json.loads(options))


def _by_name(name: str) -> dict[str, Any] | None:
    """open_clip's options of a text tower that is a separate module, if it has one by that name."""
    tower = clip_tower(name)
    config = _open_clip().get_model_config(tower.name) if tower else None
    if not config or not config.get("custom_text"):
        return None
    shapes = _FROM_SHAPES | {"heads"}  # always width / 64 where the tokenizer is CLIP's
    return {key: value for key, value in config["text_cfg"].items() if key not in shapes}


def _text_weights(everything: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    named = {
        key.removeprefix(prefix): tensor.float()
        for key, tensor in everything.items()
        if key.startswith(prefix)
    }
    return {key: tensor for key, tensor in named.items() if key.startswith(_PARTS)}


def _activation(backbone_file: BackboneFile, name: str, arch: str, beside: OpenClipConfig) -> str:
    stated = backbone_file.described.text_activation or backbone_file.layout.activation
    named_quick = is_quick(arch or arch_of(backbone_file) or "") or name.lower().endswith(
        "quickgelu"
    )
    if stated:
        if named_quick and stated == "gelu":
            raise UserError("config.json beside the file says plain GELU, the name means QuickGELU")
        return stated
    if named_quick and beside.quick_gelu is False:
        raise UserError(
            "open_clip_config.json beside the file says plain GELU, the name means QuickGELU"
        )
    quick = named_quick if beside.quick_gelu is None else beside.quick_gelu
    return "quick_gelu" if quick else "gelu"


def _build(
    path: Path, weights: dict[str, Tensor], config: Mapping[str, Any], activation: str
) -> nn.Module:
    """open_clip's tower with these weights."""
    strange = [
        f"{key}={value}"
        for key, value in config.items()
        if key not in _FROM_SHAPES | _TAKEN | _ELSEWHERE and value not in (None, False)
    ]
    if strange or "cls_emb" in weights:
        part = ", ".join(strange) or "a class token"
        raise TextTowerError(f"{path.name} has a text tower with {part}, which is not read")
    open_clip = _open_clip()
    context, width = weights["positional_embedding"].shape
    layers = {m[1] for key in weights if (m := re.match(r"transformer\.resblocks\.(\d+)\.", key))}
    projection = weights.get("text_projection", weights.get("text_projection.weight"))
    options = {"heads": max(1, width // _HEAD_WIDTH)} | {
        key: config[key] for key in _TAKEN & config.keys()
    }
    if projection is None:
        dim = width
        options["proj_type"] = "none"
    else:
        linear = "text_projection" not in weights  # [D, W], with a bias
        dim = projection.shape[0] if linear else projection.shape[1]
        options["proj_bias"] = linear
    hidden = weights.get("transformer.resblocks.0.mlp.c_fc.weight")
    with torch.random.fork_rng(devices=[]):
        body = open_clip.transformer.TextTransformer(
            context_length=context,
            vocab_size=len(weights["token_embedding.weight"]),
            width=width,
            layers=len(layers),
            mlp_ratio=4.0 if hidden is None else len(hidden) / width,
            output_dim=dim,
            act_layer=_ACTIVATIONS[activation](),
            norm_layer=partial(
                open_clip.transformer.LayerNorm, **(config.get("norm_kwargs") or {"eps": 1e-5})
            ),
            **options,
        )
    wanted = body.state_dict()
    wrong = sorted(wanted.keys() ^ weights.keys())
    wrong += [key for key in wanted if key in weights and wanted[key].shape != weights[key].shape]
    if wrong:
        raise TextTowerError(
            f"{path.name} has a text tower of another kind than CLIP's ({', '.join(wrong[:3])})"
        )
    if not all_finite(weights):
        raise UserError(f"{path}: has numbers that are NaN or infinite; it is damaged")
    body.load_state_dict(weights)
    return cast(nn.Module, body)


def _open_clip() -> Any:
    assert timm is not None  # imported first: open_clip imports torchvision
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise UserError("text towers need open_clip: pip install 'cvgssl[clip]'") from error
