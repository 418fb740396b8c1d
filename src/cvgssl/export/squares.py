"""Pictures of any size to squares, as Pillow computes them, in operators that every runtime has.

Exporters and runtimes disagree about antialiased resizing, so it is two matrix products here, whose
weights follow from the sizes inside the graph. All numbers are whole ones in float64, which is
exact: the squares are those of `images.decoding.fit_square`, pixel for pixel.

Shape letters: H rows and W columns of a picture, C its channels (1 or 3), S side of the square.
"""

from typing import cast

import PIL
import torch
from torch import Tensor, nn

from cvgssl.images.geometry import Geometry

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_ONE = 2.0**22  # how Pillow stores a weight of 1
# from 13 on it resizes the columns first where the height shrinks far more than the width
_TALL_FIRST = int(PIL.__version__.split(".")[0]) >= 13


class Squares(nn.Module):
    """Samples to a square of 8-bit colour pixels."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, picture: Tensor, white: Tensor) -> Tensor:
        """Integers [H, W, C] to float64 [3, S, S], whole numbers 0..255.

        white: white level [] of the file's format, 255 or 65535; that of `bit_depth` counts where
            it is smaller.
        """
        pixels = eight_bits(picture.permute(2, 0, 1), white, self.geometry.bit_depth)
        channels, height, width = (_number(size, picture) for size in pixels.shape)
        high, wide = self._resized(height, width)
        across, inside_row = self._weights(picture.shape[1], width, wide)
        down, inside_column = self._weights(picture.shape[0], height, high)
        square = self._resize(pixels, across, down, (height, width), (high, wide))
        if self.geometry.fit == "pad":
            inside = inside_column[:, None] & inside_row
            square = torch.where(inside, square, pixels.mean().round())
        chosen = torch.minimum(torch.arange(3, device=picture.device), channels.long() - 1)
        return square.index_select(0, chosen)

    def _resize(
        self,
        pixels: Tensor,
        across: Tensor,
        down: Tensor,
        before: tuple[Tensor, Tensor],
        after: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Float64 [C, S, S] of pixels [C, H, W] and the weights of both sides."""
        operands = (pixels, across.T.contiguous(), down)
        if not _TALL_FIRST:
            return _rows_first(*operands)
        (height, width), (high, wide) = before, after
        tall = (height > high) & (height - high > 2 * (width - wide))
        if torch.compiler.is_compiling():  # into a graph, which then holds both
            return cast(Tensor, torch.cond(tall, _columns_first, _rows_first, operands))
        return _columns_first(*operands) if tall else _rows_first(*operands)

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width after resizing, before `crop` cuts and `pad` fills."""
        side = self.geometry.size
        if self.geometry.fit == "stretch":
            return torch.full_like(height, side), torch.full_like(width, side)
        if self.geometry.fit == "crop":
            short = torch.minimum(height, width)
            return (side * height / short).floor(), (side * width / short).floor()
        long = torch.maximum(height, width)
        return (
            (side * height / long).round().clamp(min=1),
            (side * width / long).round().clamp(min=1),
        )

    def _weights(self, count: int, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [S, count] times 2^22 of resizing a side, and which places [S] are inside it.

        count, before: its pixels, as a number and as float64 []. after: what it becomes.
        """
        side = self.geometry.size
        first = (after - side) / 2  # the square's first place among those of the resized picture
        first = first.round() if self.geometry.fit == "crop" else -(-first).floor()
        places = torch.arange(side, dtype=torch.float64, device=after.device) + first
        weights = pillow_weights(places, count, before, after, self.geometry.interpolation)
        return weights, (places >= 0) & (places < after)


def eight_bits(picture: Tensor, white: Tensor, bit_depth: int) -> Tensor:
    """Integers of any shape to float64 0..255, rounded; see `images.deep.to_eight_bits`.

    Samples over the white level become white here, where that refuses the file.
    """
    level = white.double().clamp(max=2**bit_depth - 1)
    scaled = ((picture.double() * 255 + (level / 2).floor()) / level).floor()
    return scaled.clamp(max=255)


def pillow_weights(
    places: Tensor, count: int, before: Tensor, after: Tensor, interpolation: str
) -> Tensor:
    """Weights float64 [P, count], whole numbers, of `count` pixels for P places of the result.

    As Pillow's `Resample.c` computes them for 8-bit pixels. before, after: pixels of both sides,
    float64 []; before is `count`.
    """
    scale = before / after
    stretched = scale.clamp(min=1)
    support = _SUPPORT[interpolation] * stretched
    centre = ((places + 0.5) * scale)[:, None]
    pixel = torch.arange(count, dtype=torch.float64, device=places.device)
    first = (centre - support + 0.5).floor()
    end = (centre + support + 0.5).floor()
    distance = ((pixel - centre + 0.5) * (1 / stretched)).abs()
    curve = _triangle if interpolation == "bilinear" else _cubic
    weights = torch.where((pixel >= first) & (pixel < end), curve(distance), 0.0)
    total = weights.sum(dim=1, keepdim=True)
    weights = weights / torch.where(total == 0, 1.0, total) * _ONE
    return weights.sign() * (weights.abs() + 0.5).floor()


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys's cubic with a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * -0.5
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _rows_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _rounded(down @ _rounded(pixels @ across))


def _columns_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _rounded(_rounded(down @ pixels) @ across)


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + _ONE / 2) / _ONE).floor().clamp(0, 255)


def _number(size: int, like: Tensor) -> Tensor:
    """A size, which is a symbol while a graph is made, as float64 []."""
    return torch.scalar_tensor(size, dtype=torch.float64, device=like.device)
