"""A run of a frozen network: from pixels to its output and the tokens of its layers.

Shape letters: B pictures, C channels (1 gray or 3), S side in pixels, T tokens, W width of a layer.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.programs import TORCH

LayerTokens = tuple[Tensor, Tensor]
"""Of a layer: prefix [B, p, W], where there is one, and patches or places of a map [B, T, W]."""

Taken = tuple[Tensor | None, dict[int, LayerTokens]]
"""The network's output, if that is wanted, and the tokens of layers by their places from 0."""


class Run(Protocol):
    """What runs a network. program: `torch`, or another one with its version."""

    program: str

    def __call__(self, pixels: Tensor, /) -> Taken:
        """Uint8, or float 0..1, [B, C, S, S]; float32 comes out, but inside of autocast."""


class NetworkRun:
    """By torch, where the network is.

    layers: places of those that are shown. with_output: whether the output is wanted, too.
    """

    program = TORCH

    def __init__(
        self, backbone: Backbone, layers: Iterable[int] = (), with_output: bool = True
    ) -> None:
        self.backbone, self.layers, self.with_output = backbone, tuple(sorted(layers)), with_output
        self.output_after = with_output and bool(self.layers) and output_after(backbone)

    def __call__(self, pixels: Tensor, /) -> Taken:
        """See `Run`."""
        body, normalized = self.backbone.body, self.backbone.normalize(pixels)
        output: Tensor | None = None
        shown: dict[int, LayerTokens] = {}
        if self.layers:
            forward = body.forward_intermediates
            output, shown = run_layers(forward, normalized, self.layers, self.output_after)
        if self.output_after:
            output = body.forward_head(output)
        elif self.with_output:
            output = body(normalized)
        return output, shown


def run_layers(
    forward: Callable[..., Any], pixels: Tensor, layers: Iterable[int], with_final: bool = False
) -> tuple[Tensor | None, dict[int, LayerTokens]]:
    """Run a network once: the tokens of `layers` (places from 0), each as in a run for it only.

    forward: `forward_intermediates` of a model of timm's. pixels: normalised float [B, 3, S, S].
    with_final: also give what the model's head takes (`forward_features`); else it is None.
    """
    places = sorted(set(layers))
    options: dict[str, Any] = {"indices": places, "intermediates_only": not with_final}
    if "return_prefix_tokens" in inspect.signature(forward).parameters:
        options |= {"norm": True, "output_fmt": "NLC", "return_prefix_tokens": True}
    result = forward(pixels, **options)
    final, shown = result if with_final else (None, result)
    return final, dict(zip(places, map(_tokens, shown), strict=True))


@torch.inference_mode()
def output_after(backbone: Backbone) -> bool:
    """Whether the network's own output follows from a run that shows its layers, bit by bit.

    Tried on a picture, for not all architectures compute it that way.
    """
    body, side = backbone.body, backbone.image_size
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    pixels = backbone.normalize(picture.to(backbone.scale.device))
    try:
        final, _ = run_layers(body.forward_intermediates, pixels, (0,), with_final=True)
        return torch.equal(body.forward_head(final), body(pixels))
    except (AttributeError, RuntimeError, TypeError):  # another head, or one of other shapes
        return False


def _tokens(layer: Tensor | tuple[Tensor, Tensor]) -> LayerTokens:
    patches, prefix = layer if isinstance(layer, tuple) else (layer, None)
    if patches.ndim == 4:  # maps
        patches = patches.flatten(2).transpose(1, 2)
    return patches[:, :0] if prefix is None else prefix, patches
