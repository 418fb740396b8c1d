"""What Hugging Face's `transformers` writes beside weights: config.json, preprocessor_config.json.

Both are text of unknown origin: what is not understood is an error, never a silent default.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cvgssl.encoders.normalization import IMAGENET, Normalization
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import parse_json, parsing

CONFIG, PIXELS, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer.json"
_KIND = "a configuration of transformers"
_REMEDY = "copy it again, or remove it and name the architecture"
_ACTIVATIONS = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "silu": "",
}
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_IMAGENET_TYPES = {"vit_mae", "vit_msn", "dinov2", "dinov2_with_registers", "dinov3_vit"}
# what timm's architectures have fixed, and its value where the configuration leaves it out
_FIXED = {"rope_theta": 100.0}


@dataclass(frozen=True)
class TransformersConfig:
    """What the files beside the weights say; None or empty where nothing.

    activation: `quick_gelu`, `gelu` or `gelu_tanh`, of the vision tower; text_activation: of the
    text tower. heads: of every block. size: of pictures, pixels. interpolation: `bicubic` or
    `bilinear`. config: all of config.json.
    """

    activation: str = ""
    heads: int | None = None
    normalization: Normalization | None = None
    size: int | None = None
    interpolation: str | None = None
    text_activation: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> Mapping[str, Any]:
        """Options of the text tower; of a separate text model, all."""
        part = self.config.get("text_config", self.config)
        return part if isinstance(part, Mapping) else {}


def describe(
    folder: Path | None,
    model_types: frozenset[str],
    weights: Mapping[str, Tensor],
    usual: str = "",
) -> TransformersConfig:
    """Read what is beside `weights` in `folder`, if it is of one of these types of model.

    usual: activation where config.json leaves it out.

    A config.json of another type, or of other widths or patches than the weights, is not theirs.
    Raises UserError for a damaged file and for options that change features and are not read.
    """
    if folder is None or not model_types:
        return TransformersConfig()
    config = _read(folder / CONFIG)
    pixels = _read(folder / PIXELS)
    with parsing(folder / CONFIG, _KIND, _REMEDY):
        if config and not (config.get("model_type") in model_types and _fits(config, weights)):
            return TransformersConfig()
        vision = config.get("vision_config", config)
        heads = vision.get("num_attention_heads")
        text = config.get("text_config", config)
        activation, text_activation = (
            _activation(part, folder / CONFIG, usual) if config else "" for part in (vision, text)
        )
        if heads is not None and not (type(heads) is int and heads > 0):
            raise ValueError(f"num_attention_heads is {heads!r}")
        for key, value in _FIXED.items():
            if vision.get(key, value) != value:
                raise UserError(f"{folder / CONFIG}: {key} {vision[key]!r} is not read")
    imagenet = IMAGENET if config.get("model_type") in _IMAGENET_TYPES else None
    with parsing(folder / PIXELS, _KIND, _REMEDY):
        return TransformersConfig(
            activation,
            heads,
            _normalization(pixels) or imagenet,
            _side(pixels),
            _FILTERS.get(pixels.get("resample", 0)),
            text_activation,
            config,
        )


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty when the file is missing or holds something else."""
    if not path.is_file():
        return {}
    content = parse_json(path, _KIND, _REMEDY)
    return content if isinstance(content, dict) else {}


def _activation(part: Mapping[str, Any], path: Path, usual: str) -> str:
    """Of an MLP; empty for a gated one, which is an architecture of its own."""
    if "hidden_act" not in part or part.get("use_swiglu_ffn"):
        return usual
    activation, gated = part["hidden_act"], bool(part.get("use_gated_mlp"))
    if activation not in _ACTIVATIONS or gated != (activation == "silu"):
        raise UserError(f"{path}: hidden_act {activation!r} is not read")
    return _ACTIVATIONS[activation]


def _fits(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bool:
    """Whether widths and patches of the configuration are those of the file's tensors."""
    shapes = {
        "hidden_size": {tensor.shape[-1] for tensor in weights.values() if tensor.ndim == 1},
        "patch_size": {tensor.shape[-1] for tensor in weights.values() if tensor.ndim == 4},
    }
    parts = [config, config.get("vision_config"), config.get("text_config")]
    return all(
        not sizes or part.get(key, next(iter(sizes))) in sizes
        for part in parts
        if isinstance(part, Mapping)
        for key, sizes in shapes.items()
    )


def _normalization(pixels: Mapping[str, Any]) -> Normalization | None:
    if not pixels.get("do_normalize", True) or "image_mean" not in pixels:
        return None
    red, green, blue = map(float, pixels["image_mean"])
    deviations = tuple(map(float, pixels["image_std"]))
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError("image_mean must be finite")
    if len(deviations) != 3 or not all(0 < value < math.inf for value in deviations):
        raise ValueError("image_std must be three numbers above 0")
    return Normalization((red, green, blue), deviations)


def _side(pixels: Mapping[str, Any]) -> int | None:
    """Side of the squares that the network sees: the crop where there is one."""
    chosen = pixels.get("crop_size") if pixels.get("do_center_crop", False) else None
    chosen = pixels.get("size") if chosen is None else chosen
    if isinstance(chosen, Mapping):
        chosen = chosen.get("height", chosen.get("shortest_edge"))
    if chosen is None:
        return None
    side = int(chosen)
    if not 1 <= side <= 10_000:
        raise ValueError(f"size is {side}")
    return side
