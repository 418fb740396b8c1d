"""Encoders as a part of the graph: `features.encoder.JointEncoder` for a single picture.

Shape letters: S side of the square, V views of test-time augmentation, s their side, D numbers of
an embedding.
"""

import torch
from torch import Tensor, nn

from cvgssl.features.encoder import JointEncoder, augmented


class EncoderPart(nn.Module):
    """A square of pixels to the embeddings of encoders that share a run of their network."""

    to_size: Tensor | None

    def __init__(self, joint: JointEncoder) -> None:
        super().__init__()
        self.config, self.interpolation = joint.config, joint.frozen.interpolation
        self.members, self.run = joint.members, joint.run
        # what `run` and the members compute with belongs to this module, too
        self.backbone, self.projection = joint.frozen.backbone, joint.frozen.projection
        self.register_buffer("to_size", self._resizing(joint))

    def _resizing(self, joint: JointEncoder) -> Tensor | None:
        """Weights [size, side] of the resize from a crop's side; None where it has the size.

        No exporter knows torch's antialiased resize, whose weights are what it makes of a unit
        matrix.
        """
        config, size = self.config, joint.frozen.image_size
        side = joint.geometry.size
        if config.crops > 1:
            side = max(1, round(config.crop_side * side))
        if side == size:
            return None
        stretched = torch.eye(side)[None, None].expand(1, 1, side, side)
        wide = nn.functional.interpolate(
            stretched, (size, side), mode=self.interpolation, antialias=True
        )
        return wide[0, 0].clone()

    def views(self, square: Tensor) -> Tensor:
        """Whole numbers 0..255 float32 [3, S, S] to what the network sees, 0..1 [V, 3, s, s]."""
        config = self.config
        pixels = square.float()[None] / 255
        views = torch.cat(list(augmented(pixels, config.crops, config.crop_side, config.flips)))
        if self.to_size is not None:
            views = self.to_size @ views @ self.to_size.T
            views = views.clamp(0, 1) if self.interpolation == "bicubic" else views
        return views

    def forward(self, views: Tensor) -> list[Tensor]:
        """Views [V, 3, s, s] to float32 [1, D] of each member."""
        output, shown = self.run(views)
        return [each.take(output, shown).mean(dim=0, keepdim=True) for each in self.members]
