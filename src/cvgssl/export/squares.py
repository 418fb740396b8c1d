"""Pictures of any size to squares, as Pillow computes them, in operators that every runtime has.

Exporters and runtimes disagree about antialiased resizing, so it is two matrix products here, whose
weights follow from the sizes inside the graph. Pixels and products are whole numbers that float32
holds exactly: the squares are those of `images.decoding.square_of_pixels`, pixel for pixel. Weights
are computed as ratios of whole numbers, in float64. OpenVINO, which has float32 only on the CPU,
gets the same for enlarged pictures; for others a few may differ by a 2^-22nd.

Shape letters: H rows and W columns of a picture, C its channels (1 or 3), S side of the square, T
pixels that a place of the square is made of, at most.
"""

from typing import cast

import PIL
import torch
from torch import Tensor, nn

from cvgssl.images.geometry import Geometry

_ONE = 2.0**22  # how Pillow stores a weight of 1
_LIMB = 2.0**12  # larger numbers of weights are pairs: multiples of it, and what is left
_LOW = 2.0**8  # weights are split there, so that sums of 255 times each half stay below 2^24
# from 13 on it resizes the columns first where the height shrinks far more than the width
_TALL_FIRST = int(PIL.__version__.split(".")[0]) >= 13


_Pair = tuple[Tensor, Tensor]


class Squares(nn.Module):
    """Samples to a square of 8-bit colour pixels."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, picture: Tensor, white: Tensor) -> Tensor:
        """Integers [H, W, C] to float32 [3, S, S], whole numbers 0..255.

        white: white level [] of the file's format, 255 or 65535; that of `bit_depth` counts where
            it is smaller.
        """
        pixels = eight_bits(picture.permute(2, 0, 1), white, self.geometry.bit_depth)
        channels, height, width = (self._number(size, picture) for size in pixels.shape)
        high, wide = self._resized(height, width)
        # how many pixels become one, rounded up: at most, of either side, whatever `resize` is
        ratio = 2 * (picture.shape[0] + picture.shape[1]) // self.geometry.size + 1
        # both sides at once, as the weights are a good part of the graph
        before, after = torch.stack([width, height]), torch.stack([wide, high])
        places = self._places(after)
        weights, pixel = pillow_weights(places, ratio, before, after, self.geometry.interpolation)
        across, down = (
            spread_weights(weights[side], pixel[side], picture.shape[1 - side]) for side in (0, 1)
        )
        square = self._resize(pixels, across, down, (height, width), (high, wide))
        if self.geometry.resize == "pad":
            inside_row, inside_column = (places >= 0) & (places < after[:, None])
            inside = inside_column[:, None] & inside_row
            square = torch.where(inside, square, pixels.double().mean().round().float())
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
        """Float32 [C, S, S] of pixels [C, H, W] and the weights of both sides."""
        operands = (pixels, *_halves(across.T.contiguous()), *_halves(down))
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
        if self.geometry.resize == "stretch":
            return torch.full_like(height, side), torch.full_like(width, side)
        if self.geometry.resize == "crop":
            short = torch.minimum(height, width)
            return _quotient(side * height, short), _quotient(side * width, short)
        long = torch.maximum(height, width)
        return (
            _nearest(side * height, long).clamp(min=1),
            _nearest(side * width, long).clamp(min=1),
        )

    def _places(self, after: Tensor) -> Tensor:
        """Which places of resized sides of `after` pixels [2] the square has, [2, S]."""
        side = self.geometry.size
        first = (after - side) / 2
        first = first.round() if self.geometry.resize == "crop" else -(-first).floor()
        return torch.arange(side, dtype=torch.float64, device=after.device) + first[:, None]

    def _number(self, size: int, like: Tensor) -> Tensor:
        """A size, which is a symbol while a graph is made, as a tensor []."""
        return torch.scalar_tensor(size, dtype=torch.float64, device=like.device)


def eight_bits(picture: Tensor, white: Tensor, bit_depth: int) -> Tensor:
    """Integers of any shape to float32 0..255, rounded; see `images.deep.to_eight_bits`.

    Samples over the white level become white here, where that refuses the file.
    """
    level = white.float().clamp(max=2**bit_depth - 1)
    scaled = picture.float() * 255 + (level / 2).floor()  # below 2^24
    return _quotient(scaled, level).clamp(max=255)


def pillow_weights(
    places: Tensor, ratio: int, before: Tensor, after: Tensor, interpolation: str
) -> tuple[Tensor, Tensor]:
    """Weights [N, P, T], whole numbers, and of which pixels, for P places of each of N sides.

    As Pillow's `Resample.c` computes them for 8-bit pixels. places: [N, P]. before, after: pixels
    of the sides [N]. ratio: not below before / after. Outside of the side weights are 0.
    """
    curve, half = (_triangle, ratio + 1) if interpolation == "bilinear" else (_cubic, 2 * ratio + 1)
    before, after = before[:, None], after[:, None]
    centre, unit = (2 * places + 1) * before, 2 * after  # of a place, in pixels: centre / unit
    whole = (centre / unit).floor()
    # only the pixels near the place's centre: T = 2 half + 1
    near = torch.arange(2 * half + 1, dtype=places.dtype, device=places.device) - half
    distance = (unit[..., None] * near + (after - centre + unit * whole)[..., None]).abs()
    pixel = whole[..., None] + near
    inside = (pixel >= 0) & (pixel < before[..., None])
    reach = 2 * torch.maximum(before, after)[..., None]  # the filter's unit of length
    high, low = (torch.where(inside, each, 0.0) for each in curve(distance, reach))
    # centres that are outside by more have no pixels inside
    first = torch.minimum(whole.clamp(min=-half), before + half)
    return _shares(high, low), first[..., None] + near


def spread_weights(weights: Tensor, pixel: Tensor, count: int) -> Tensor:
    """Weights [P, count] of all pixels from those of some, both [P, T]; see `pillow_weights`."""
    margin = pixel.shape[1]
    wide = torch.zeros(
        (pixel.shape[0], count + 2 * margin), dtype=weights.dtype, device=weights.device
    )
    wide = wide.scatter(1, (pixel + margin).long(), weights)
    return wide[:, margin : margin + count]


def _triangle(distance: Tensor, reach: Tensor) -> _Pair:
    """1 - x for x = distance / reach below 1, of whole numbers, times reach."""
    curve = (reach - distance).clamp(min=0)
    return torch.zeros_like(curve), curve


def _cubic(distance: Tensor, reach: Tensor) -> _Pair:
    """Keys's cubic with a = -0.5 at distance / reach, of whole numbers, times 2 reach^3."""
    middle = _product(reach * reach, 2 * reach)
    falling = _product(distance * distance, 5 * reach - 3 * distance)
    far = _product((2 * reach - distance) ** 2, reach - distance)
    inside, outside = distance < reach, distance < 2 * reach
    high, low = (
        torch.where(inside, all_ - less, torch.where(outside, beyond, 0.0))
        for all_, less, beyond in zip(middle, falling, far, strict=True)
    )
    return high, low


def _product(left: Tensor, right: Tensor) -> _Pair:
    high = (left / _LIMB).floor()
    return high * right, (left - high * _LIMB) * right


def _shares(high: Tensor, low: Tensor) -> Tensor:
    """A pair's numbers [N, P, T] as shares of their sums, times 2^22, rounded: long division."""
    sign = (high * _LIMB + low).sign()
    all_high, all_low = (each.sum(dim=-1, keepdim=True) for each in (high, low))
    total = all_high * _LIMB + all_low
    total = torch.where(total == 0, 1.0, total)  # of places outside, which no pixel reaches
    high, low, shares = sign * high, sign * low, torch.zeros_like(high)
    for bits in (8, 8, 6):
        carried = (low * 2.0**bits / _LIMB).floor()
        high, low = high * 2.0**bits + carried, low * 2.0**bits - carried * _LIMB
        digit = ((high * _LIMB + low) / total).floor()  # a wrong one is made up for by the next
        shares, high, low = (
            shares * 2.0**bits + digit,
            high - digit * all_high,
            low - digit * all_low,
        )
    return sign * (shares + ((high * _LIMB + low) / total + 0.5).floor())


def _quotient(number: Tensor, divisor: Tensor) -> Tensor:
    """The whole part of number / divisor of whole numbers.

    Exact also where the division is rounded to a whole number, or is a product with 1 / divisor.
    """
    whole = (number / divisor).floor()
    rest = number - whole * divisor
    return whole - (rest < 0).to(number.dtype) + (rest >= divisor).to(number.dtype)


def _nearest(number: Tensor, divisor: Tensor) -> Tensor:
    """Number / divisor of whole numbers, rounded, a half to the even one."""
    whole = _quotient(number, divisor)
    side = (2 * (number - whole * divisor) - divisor).sign()  # of a half
    return (whole + 0.5 + side / 4).round()


def _halves(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers as float32 of both halves: multiples of `_LOW`, and what is left."""
    high = (weights / _LOW).round()
    return high.float(), (weights - high * _LOW).float()


def _rows_first(
    pixels: Tensor, across: Tensor, across_low: Tensor, down: Tensor, down_low: Tensor
) -> Tensor:
    narrow = _rounded(pixels @ across, pixels @ across_low)
    return _rounded(down @ narrow, down_low @ narrow)


def _columns_first(
    pixels: Tensor, across: Tensor, across_low: Tensor, down: Tensor, down_low: Tensor
) -> Tensor:
    short = _rounded(down @ pixels, down_low @ pixels)
    return _rounded(short @ across, short @ across_low)


def _rounded(high: Tensor, low: Tensor) -> Tensor:
    """Sums of both halves as one 8-bit number; all steps are exact."""
    total = high + (low / _LOW).floor() + _ONE / _LOW / 2
    return (total / (_ONE / _LOW)).floor().clamp(0, 255)
