"""A frozen encoder as embedding needs it: network, pooling, test-time augmentation.

Shape letters: B pictures, C channels (1 gray or 3), S side in pixels, D numbers of an embedding.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, cast

import PIL
import torch
from torch import Tensor, nn

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_frozen_encoder
from cvgssl.encoders.preprocessing import resized
from cvgssl.features.config import EmbedConfig, Flips
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.pooling import Pooling
from cvgssl.features.record import EncoderRecord
from cvgssl.images.geometry import FitMode, Geometry, Interpolation
from cvgssl.images.reader import VERSION as READER
from cvgssl.runtime.errors import naming

FORMAT = 1  # raise when the same options would give other numbers


class Encoder(nn.Module):
    """Stored pictures to embeddings; never trained."""

    def __init__(self, frozen: FrozenEncoder, config: EmbedConfig) -> None:
        super().__init__()
        self.frozen, self.config = frozen, config
        self.pooling = (
            Pooling(frozen.backbone, config.pools, config.layers) if config.pools else None
        )

    @property
    def geometry(self) -> Geometry:
        """How its pictures become squares; as the weights were fine-tuned unless options differ."""
        config = self.config
        fit = self.frozen.card.fit if config.fit == "auto" else config.fit
        chosen = config.interpolation
        interpolation = self.frozen.interpolation if chosen == "auto" else chosen
        return Geometry(
            self.frozen.image_size,
            cast(FitMode, fit),
            cast(Interpolation, interpolation),
            config.bit_depth,
        )

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 [B, C, S, S] to float32 [B, D], the mean over test-time augmentation."""
        config = self.config
        views = augmented(pixels.float() / 255, config.crops, config.crop_side, config.flips)
        total, count = self._encode(next(views)), 1
        for view in views:
            total, count = total + self._encode(view), count + 1
        return total / count

    def record(self) -> EncoderRecord:
        """What decides its numbers besides the pictures."""
        config = self.config
        facts: dict[str, Any] = {
            "format": FORMAT,
            "reader": [READER, PIL.__version__],
            "encoder": {k: v for k, v in self.frozen.identity().items() if k != "name"},
            "geometry": asdict(self.geometry),
            "pool": list(config.pools),
            "layers": list(self.pooling.layers) if self.pooling else [],
            "crops": [config.crops, config.crop_side if config.crops > 1 else 1.0],
            "flips": config.flips,
            "precision": config.precision,
        }
        widths = self.pooling.widths if self.pooling else ()
        frozen = self.frozen
        return EncoderRecord(frozen.name, frozen.file, frozen.weight, widths, facts, frozen.remarks)

    def _encode(self, view: Tensor) -> Tensor:
        if self.pooling is None:
            return cast(Tensor, self.frozen(view))
        backbone = self.frozen.backbone
        pixels = resized(view, self.frozen.image_size, self.frozen.interpolation)
        return cast(Tensor, self.pooling(backbone.normalize(pixels)))


def load_encoder(request: EncoderRequest) -> Encoder:
    """Build and fill what was asked for, on the CPU; raises UserError naming its flag."""
    with naming(request.flag):
        frozen = load_frozen_encoder(request.spec, size=request.config.image_size)
        return Encoder(frozen, request.config)


# the first points of this sequence leave no gaps, however many are taken: Roberts, "The
# unreasonable effectiveness of quasirandom sequences" (2018), powers of the plastic number
STEPS = (0.7548776662466927, 0.5698402909980532)
AXES: dict[Flips, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (3,)),
    "both": ((), (3,), (2,), (2, 3)),
    "rotations": ((), (3,), (2,), (2, 3)),  # and the same of the transposed picture
}


def augmented(pixels: Tensor, crops: int, side: float, flips: Flips) -> Iterator[Tensor]:
    """Views float [B, C, s, s] of float pixels [B, C, S, S], the same for every picture.

    crops: how many; 1 is the whole picture. side: s / S, 0..1. Every crop in each of its 1, 2, 4
    or 8 mirror images and turns.
    """
    for crop in _crops(pixels, crops, side):
        turned = (crop, crop.transpose(2, 3)) if flips == "rotations" else (crop,)
        for view in turned:
            for axes in AXES[flips]:
                yield view.flip(axes) if axes else view


def _crops(pixels: Tensor, crops: int, side: float) -> Iterator[Tensor]:
    if crops == 1:
        yield pixels
        return
    size = max(1, round(side * pixels.shape[-1]))
    spare = pixels.shape[-1] - size
    for number in range(crops):
        top, left = (round(spare * ((0.5 + number * step) % 1)) for step in STEPS)
        yield pixels[..., top : top + size, left : left + size]
