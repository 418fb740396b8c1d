"""The text tower of a CLIP: sentences to the space that pictures and texts share.

Shape letters: N sentences, D numbers of the joint space.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cvgssl.encoders.activations import is_quick
from cvgssl.encoders.clip_names import clip_tower
from cvgssl.encoders.containers import Contents, read_contents
from cvgssl.encoders.embedded import EMBEDDED
from cvgssl.encoders.encoder_spec import RANDOM, EncoderSpec, parse_encoder
from cvgssl.encoders.fitting import all_finite
from cvgssl.encoders.inference import infer_arch
from cvgssl.encoders.layouts import all_weights, find_backbone
from cvgssl.encoders.loading import locate
from cvgssl.encoders.preprocessing import OpenClipConfig, open_clip_config
from cvgssl.encoders.timm_import import timm
from cvgssl.encoders.weights_folder import find_weights
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.files import sha256_file

_BATCH = 256


class TextTowerError(UserError):
    """The weights have no text tower that can be read, or it does not belong to the features."""


class TextTower(nn.Module):
    """Sentences to unit embeddings; never trained, on the CPU.

    file, sha256: of the weights. quick_gelu: the activation. dim: D.
    scale: what cosines are multiplied with before the softmax, as the CLIP learned it.
    """

    def __init__(
        self, body: nn.Module, tokenizer: Any, file: str, sha256: str, quick_gelu: bool,
        scale: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.file, self.sha256, self.quick_gelu, self.scale = file, sha256, quick_gelu, scale

    @torch.inference_mode()
    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Float32 [N, D], rows of length 1; raises UserError for a sentence that is too long."""
        limit = int(cast(int, self.body.context_length))
        for sentence in sentences:
            count = len(self.tokenizer.encode(sentence)) + 2  # start and end
            if count > limit:
                raise UserError(
                    f"prompt {sentence[:60]!r}: {count} tokens, {limit} are read; shorten it"
                )
        parts = [
            self.body(self.tokenizer(list(sentences[first : first + _BATCH])))
            for first in range(0, len(sentences), _BATCH)
        ]
        return nn.functional.normalize(torch.cat(parts), dim=-1).clone()

    def identity(self) -> dict[str, Any]:
        """All that decides its embeddings, as JSON values."""
        activation = "quick_gelu" if self.quick_gelu else "gelu"
        return {"file": self.file, "sha256": self.sha256, "activation": activation}


VOCABULARY = 49408
"""Words of CLIP's tokenizer; towers of other tokenizers (SigLIP's, BERT's) are not read."""
FLAG = "text"
_HEAD_WIDTH = 64
_LARGEST_SCALE = 100.0  # CLIP's training keeps its scale below
_REMEDY = "give a file of the whole CLIP (OpenAI's .pt, or open_clip_model.safetensors)"
_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.",
          "text_projection", "cls_emb")  # fmt: skip
_FROM_SHAPES = {"context_length", "vocab_size", "width", "layers", "mlp_ratio"}
_TAKEN = {"heads", "no_causal_mask", "pool_type", "eos_id", "pad_id", "proj_type", "proj_bias"}


def load_text_tower(weights: str | EncoderSpec, folder: Path | None = None) -> TextTower:
    """The text tower of `NAME=FILE`, of FILE, or of NAME's file in the weights folder.

    The same notation as `--encoder`; folder: see `weights_folder`. Read are CLIP by OpenAI and
    open_clip's towers with CLIP's own tokenizer. A file by OpenAI has QuickGELU; for others the
    configuration beside the file or the name tells, as for the vision tower.
    Raises TextTowerError where the file has none of these, UserError for any other trouble.
    """
    spec = weights if isinstance(weights, EncoderSpec) else parse_encoder(weights, FLAG, folder)
    with naming(f"{FLAG} {spec}"):
        if spec.name == EMBEDDED or spec.file == RANDOM:
            raise TextTowerError(f"{spec.file or spec.name} has no text tower; {_REMEDY}")
        if not spec.name:
            return _read(find_weights(spec.file, folder))
        at = locate(spec, folder)
        return _read(at.path, spec.name, at.arch)


def _read(path: Path, name: str = "", arch: str = "") -> TextTower:
    contents = read_contents(path)
    everything = all_weights(contents)
    custom = "text.token_embedding.weight" in everything
    prefix = "text." if custom else ""
    weights = _text_weights(everything, prefix)
    if "token_embedding.weight" not in weights:
        other = any(key.startswith("text.") for key in everything)
        kind = "a text tower of another kind than CLIP's" if other else "no text tower"
        raise TextTowerError(f"{path.name} has {kind}; {_REMEDY}")
    words = len(weights["token_embedding.weight"])
    beside = open_clip_config(path)
    asked = (_by_name(name) if custom else {}) if beside.text is None else beside.text
    if words != VOCABULARY or (asked or {}).get("hf_tokenizer_name"):
        raise TextTowerError(
            f"{path.name} has a text tower with another tokenizer ({words} words); only CLIP's own "
            f"({VOCABULARY} words) is read"
        )
    if asked is None:
        raise TextTowerError(
            f"{path.name} does not tell how its text tower is built; keep open_clip_config.json "
            "beside it, or write NAME=FILE, such as EVA02-B-16=FILE"
        )
    quick = _is_quick(contents, name, arch, beside)
    body, tokenizer = _build(path, weights, asked, quick)
    scale = everything.get("logit_scale")
    return TextTower(
        body,
        tokenizer,
        path.name,
        sha256_file(path),
        quick,
        _LARGEST_SCALE if scale is None else min(float(scale.exp().max()), _LARGEST_SCALE),
    )


def _by_name(name: str) -> dict[str, Any] | None:
    """open_clip's options of a text tower that is a part by itself, if it has one by that name."""
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


def _is_quick(contents: Contents, name: str, arch: str, beside: OpenClipConfig) -> bool:
    found = find_backbone(contents)
    openai = found is not None and bool(found.layout.quick_gelu)
    if not arch and found is not None:
        arch = infer_arch(found.weights, openai) or ""
    says = is_quick(arch) or name.lower().endswith("quickgelu")
    if openai:
        return True
    if says and beside.quick_gelu is False:
        raise UserError(
            "open_clip_config.json beside the file says plain GELU, the name means QuickGELU"
        )
    return says if beside.quick_gelu is None else beside.quick_gelu


def _build(
    path: Path, weights: dict[str, Tensor], asked: Mapping[str, Any], quick: bool
) -> tuple[nn.Module, Any]:
    """open_clip's tower with these weights, and its tokenizer."""
    strange = [
        f"{key}={value}"
        for key, value in asked.items()
        if key not in _FROM_SHAPES | _TAKEN | {"tokenizer_kwargs"} and value not in (None, False)
    ]
    if strange or "cls_emb" in weights:
        what = ", ".join(strange) or "a class token"
        raise TextTowerError(f"{path.name} has a text tower with {what}, which is not read")
    open_clip = _open_clip()
    context, width = weights["positional_embedding"].shape
    layers = {m[1] for key in weights if (m := re.match(r"transformer\.resblocks\.(\d+)\.", key))}
    projection = weights.get("text_projection", weights.get("text_projection.weight"))
    options = {"heads": max(1, width // _HEAD_WIDTH)} | {
        key: asked[key] for key in _TAKEN & asked.keys()
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
            vocab_size=VOCABULARY,
            width=width,
            layers=len(layers),
            mlp_ratio=4.0 if hidden is None else len(hidden) / width,
            output_dim=dim,
            act_layer=open_clip.transformer.QuickGELU if quick else nn.GELU,
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
        raise UserError(f"{path}: has infinite or undefined numbers; it is damaged")
    body.load_state_dict(weights)
    clean = dict(asked.get("tokenizer_kwargs") or {})
    return body, open_clip.tokenizer.SimpleTokenizer(context_length=context, **clean)


def _open_clip() -> Any:
    assert timm is not None  # imported first: open_clip imports torchvision
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise UserError("text towers need open_clip: pip install 'cvgssl[clip]'") from error
