"""Pixels to features: a timm (or torchvision) network without its classifier.

Shape letters: B pictures, C channels (1 gray or 3), S side in pixels, D features.
"""

import contextlib
import difflib
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from cvgssl.encoders.extent import MOST_TENSORS, TooLargeError, bounded, check_extent
from cvgssl.encoders.normalization import HALF, IMAGENET, Normalization
from cvgssl.encoders.timm_import import timm, torchvision
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.parsing import one_line

TORCHVISION = "torchvision:"
# what timm would load or fetch unasked, or what this module decides
_RESERVED = ("pretrained", "checkpoint", "cache", "num_classes", "img_size", "in_chans", "features")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "None": None}
_LARGEST_SIZE = 16_384  # pixels
_LARGEST_OPTION = 1_000_000


class Backbone(nn.Module):
    """Uint8 pixels to float features; the normalisation happens inside.

    arch: the name that built it, enough to build it again.
    image_size: side of the pictures that it takes, pixels.
    feature_dim: D.
    body: the timm model with `num_classes=0`; its weights are the only ones in `state_dict()`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        body: nn.Module,
        arch: str,
        image_size: int,
        feature_dim: int,
        normalization: Normalization,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.body = body.to(memory_format=memory_format)  # type: ignore[call-overload]
        self.arch = arch
        self.image_size = image_size
        self.feature_dim = feature_dim
        self.memory_format = memory_format
        self.register_buffer("scale", torch.empty(0), persistent=False)
        self.register_buffer("shift", torch.empty(0), persistent=False)
        self.normalization = normalization

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation applied to pixels in 0..1."""
        return self._normalization

    @normalization.setter
    def normalization(self, value: Normalization) -> None:
        self._normalization = value
        channels = 1 if value.same_for_all_channels else 3
        mean = torch.tensor(value.mean[:channels], dtype=torch.float64).view(1, channels, 1, 1)
        std = torch.tensor(value.std[:channels], dtype=torch.float64).view(1, channels, 1, 1)
        device = self.scale.device
        self.scale = (1 / std).float().to(device)
        self.shift = (-mean / std).float().to(device)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Uint8 0..255 or float 0..1 [B, C, S, S] to normalised float [B, 3, S, S].

        Gray pictures and equal channel statistics are worked on once and expanded at the end.
        """
        scale = self.scale / 255 if pixels.dtype == torch.uint8 else self.scale
        values = torch.addcmul(self.shift, pixels.to(self.scale.dtype), scale)
        expanded = values.expand(-1, 3, -1, -1)
        return expanded.contiguous(memory_format=self.memory_format)

    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 (or float 0..1) [B, C, S, S] to features [B, D]."""
        return cast(Tensor, self.body(self.normalize(pixels)))


def build_backbone(
    arch: str,
    image_size: int = 224,
    normalization: Normalization = HALF,
    flag: str = "--arch ",
) -> Backbone:
    """Make a randomly initialised backbone; torch's global generator decides the numbers.

    arch: any timm model (`resnet18`, `vit_tiny_patch16_224`), with further arguments of that
        model after commas where needed (`vit_small_patch16_224,num_heads=12`,
        `vit_base_patch16_clip_224,act_layer=quick_gelu`), or `torchvision:NAME` for a torchvision
        classifier that has `features` (`torchvision:squeezenet1_1`), whose default normalisation
        is ImageNet's.
    image_size: side in pixels; position embeddings and patch grids are made for it.
    flag: what messages put before `arch`.
    Raises UserError for a name that nothing is known by, with close matches.
    """
    with naming(f"{flag}{arch}"):
        if arch.startswith(TORCHVISION):
            normalization = IMAGENET if normalization == HALF else normalization
            return _build_torchvision(arch, image_size, normalization)
        name, options = split_arch(arch)
        if not timm.is_model(name):
            raise UserError(_unknown(name, timm.list_models()))
        body, sized = _build_timm(name, options, image_size)
        memory_format = torch.contiguous_format if sized else torch.channels_last
        dim = int(getattr(body, "head_hidden_size", None) or body.num_features)  # type: ignore[arg-type]
        return Backbone(body, arch, image_size, dim, normalization, memory_format)


def split_arch(arch: str) -> tuple[str, dict[str, Any]]:
    """`name,key=value` to the name and its options; raises UserError for anything else."""
    name, *words = arch.split(",")
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise UserError(f"{word!r} must be of the form option=value")
        if key.startswith(_RESERVED):
            raise UserError(f"{key} is not an option of the architecture")
        options[key] = _value(value)
        if isinstance(options[key], float) and not math.isfinite(options[key]):
            raise UserError(f"{key} must be a finite number")
        most = MOST_TENSORS if key.startswith("depth") else _LARGEST_OPTION
        if isinstance(options[key], int) and abs(options[key]) > most:
            raise UserError(f"{key} must be at most {most:,}")  # building as far takes minutes
    return name, options


def _value(word: str) -> Any:
    """A whole number, a number, true or false, None, else the word itself."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(word)
    return _WORDS.get(word, word)


def _build_timm(name: str, options: dict[str, Any], image_size: int) -> tuple[nn.Module, bool]:
    """The model, and whether its weights depend on the image size (transformers)."""
    if not 1 <= image_size <= _LARGEST_SIZE:
        raise UserError(f"pictures have 1 to {_LARGEST_SIZE} px, not {image_size}")
    options = {"num_classes": 0, **options}
    try:
        check_extent(lambda: _create(name, image_size, options))
        with bounded():
            return _create(name, image_size, options)
    except MemoryError:
        raise
    except Exception as error:  # whatever an option provokes in an architecture
        reason = "it would have " * isinstance(error, TooLargeError) + one_line(error)
        raise UserError(f"cannot be built for {image_size} px pictures: {reason}") from error


def _create(name: str, image_size: int, options: Mapping[str, Any]) -> tuple[nn.Module, bool]:
    base, _, tag = name.partition(".")
    make = timm.model_entrypoint(base)  # create_model would leave out options that are None
    try:
        return make(pretrained_cfg=tag or None, img_size=image_size, **options), True
    except TypeError as error:  # ConvNets take any size and do not know the word
        if "img_size" not in str(error):
            raise
        return make(pretrained_cfg=tag or None, **options), False


def _build_torchvision(arch: str, image_size: int, normalization: Normalization) -> Backbone:
    name = arch.removeprefix(TORCHVISION)
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise UserError(_unknown(name, names, TORCHVISION))
    model = torchvision.models.get_model(name, weights=None)
    if not hasattr(model, "features"):
        raise UserError(
            f"only torchvision models with a `features` part are taken, such as "
            f"torchvision:squeezenet1_1; for this one use timm's, --arch {name}"
        )
    body = nn.Sequential()
    body.add_module("features", model.features)
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    with torch.no_grad():
        dim = body.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    return Backbone(body.train(), arch, image_size, dim, normalization, torch.channels_last)


def _unknown(name: str, names: list[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.5)
    hint = f"; did you mean {', '.join(prefix + match for match in close)}?" if close else ""
    return f"no such architecture{hint}"
