"""Which of a network's inner maps are pooled how, side by side.

Shape letters: B pictures, W width of a layer, L layers, P ways of pooling.
Layers of a convolutional network differ in width; L * P * W means the sum then.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.network_run import LayerTokens, run_layers
from cvgssl.runtime.errors import UserError

WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda prefix, _patches: prefix[:, 0],
    "mean": lambda _prefix, patches: patches.mean(dim=1),
    "max": lambda _prefix, patches: patches.amax(dim=1),
}


class Pooling(nn.Module):
    """Normalised pixels to float32 [B, L * P * W]: layers outside, ways of pooling inside.

    A transformer's tokens pass through its last norm, as those of the last layer do (Caron et
    al. 2021, DINO, evaluate so); its prefix holds the class token first, registers are left out.
    Other networks are pooled over the places of their maps.
    Raises UserError for a network without a class token, without layers, or with fewer of them.

    layers: places from 0 of those that it needs. widths: of the parts that are concatenated, L * P
        numbers.
    """

    def __init__(self, backbone: Backbone, ways: Sequence[str], layers: Sequence[int]) -> None:
        super().__init__()
        body, flag = backbone.body, f"--pooling {'+'.join(ways)}"
        if not set(ways) <= WAYS.keys():
            raise UserError(f"{flag}: {', '.join(WAYS)}, joined by +, are known")
        forward = getattr(body, "forward_intermediates", None)
        if forward is None:
            raise UserError(f"{flag}: {backbone.arch} does not show its layers; leave it out")
        if "cls" in ways and getattr(body, "cls_token", None) is None:
            raise UserError(f"{flag}: {backbone.arch} has no class token; use --pooling mean")
        self.forward_layers, self.ways = forward, tuple(ways)
        every = _widths(backbone)
        self.layers = _places(backbone.arch, len(every), layers or (-1,))
        self.widths = tuple(every[layer] for layer in self.layers for _ in ways)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float [B, 3, S, S] to float32 [B, L * P * W]."""
        return self.take(run_layers(self.forward_layers, pixels, self.layers)[1])

    def take(self, shown: Mapping[int, LayerTokens]) -> Tensor:
        """The same from a run of the network that shows at least `layers`."""
        parts = [
            WAYS[way](prefix.float(), patches.float())
            for prefix, patches in (shown[layer] for layer in self.layers)
            for way in self.ways
        ]
        return torch.cat(parts, dim=1)


def _places(arch: str, count: int, layers: Sequence[int]) -> tuple[int, ...]:
    """Depths counted from 1, or from the end, as places from 0, the shallowest first."""
    wrong = [layer for layer in layers if not 1 <= abs(layer) <= count]
    if wrong:
        raise UserError(f"--layers {wrong[0]}: {arch} has {count}, from 1 (or -1, the last)")
    return tuple(sorted({layer - 1 if layer > 0 else count + layer for layer in layers}))


@torch.inference_mode()
def _widths(backbone: Backbone) -> list[int]:
    """Channels of each layer that the network shows."""
    side = backbone.image_size
    pixels = backbone.normalize(torch.zeros(1, 1, side, side, device=backbone.scale.device))
    was_training = backbone.training
    layers = backbone.eval().body.forward_intermediates(pixels, intermediates_only=True)
    backbone.train(was_training)
    return [layer.shape[1] for layer in layers]
