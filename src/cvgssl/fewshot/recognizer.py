"""The classifier that is trained, saved and deployed: a backbone and a linear head.

Shapes: B pictures, C channels (1 or 3), S side in pixels, D features, K classes.
"""

import torch
from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone


class Recognizer(nn.Module):
    """Pictures to class scores: uint8 [B, C, S, S] to logits float [B, K]."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = new_head(backbone.feature_dim, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, K] of uint8 pictures [B, C, S, S]."""
        logits: Tensor = self.head(self.backbone(pixels))
        return logits


def new_head(features: int, classes: int, generator: torch.Generator | None = None) -> nn.Linear:
    """A linear classifier: weights normal with standard deviation 0.01, bias zero (MoCo)."""
    head = nn.Linear(features, classes)
    nn.init.normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    return head
