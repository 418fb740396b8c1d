"""An encoder as a part of the graph: `features.encoder.Encoder` for a single picture.

Shape letters: S side of the square, V views of test-time augmentation, D numbers of an embedding.
"""

from typing import cast

import torch
from torch import Tensor, nn

from cvgssl.features.encoder import Encoder, augmented


class EncoderPart(nn.Module):
    """A square of pixels to an embedding."""

    to_size: Tensor | None

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.config, self.interpolation = encoder.config, encoder.frozen.interpolation
        self.backbone, self.projection = encoder.frozen.backbone, encoder.frozen.projection
        self.pooling = encoder.pooling
        self.register_buffer("to_size", self._resizing(encoder))

    def _resizing(self, encoder: Encoder) -> Tensor | None:
        """Weights [size, side] of the resize from a crop's side; None where it has the size.

        No exporter knows torch's antialiased resize, whose weights are what it makes of a unit
        matrix.
        """
        config, size = self.config, encoder.frozen.image_size
        side = encoder.geometry.size
        if config.crops > 1:
            side = max(1, round(config.crop_side * side))
        if side == size:
            return None
        stretched = torch.eye(side)[None, None].expand(1, 1, side, side)
        wide = nn.functional.interpolate(
            stretched, (size, side), mode=self.interpolation, antialias=True
        )
        return wide[0, 0].clone()

    def forward(self, square: Tensor) -> Tensor:
        """Whole numbers 0..255 float64 [3, S, S] to float32 [1, D]."""
        config = self.config
        pixels = square.float()[None] / 255
        views = torch.cat(
            list(augmented(pixels, config.crops, config.crop_side, config.flips))
        )  # [V, 3, side, side]
        if self.to_size is not None:
            views = self.to_size @ views @ self.to_size.T
            views = views.clamp(0, 1) if self.interpolation == "bicubic" else views
        if self.pooling is None:
            embedded = self.projection(self.backbone(views)).float()
        else:
            embedded = self.pooling(self.backbone.normalize(views))
        return cast(Tensor, embedded.mean(dim=0, keepdim=True))
