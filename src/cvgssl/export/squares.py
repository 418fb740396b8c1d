"""Pictures of any size to squares, as Pillow computes them, in operators that every runtime has.

Exporters and runtimes disagree about antialiased resizing, so it is two matrix products here, whose
weights follow from the sizes inside the graph. Pixels and products are whole numbers that float32
holds exactly: the squares are those of `images.decoding.square_of_pixels`, pixel for pixel. Weights
are computed as ratios of whole numbers, in float64. OpenVINO, which has float32 only on the CPU,
gets the same for enlarged pictures; for others a few may differ by a 2^-22nd.

The functions are called while a graph is written and add operators to it: `Value` stands for an
ONNX tensor. (Tracing them in torch gave three times as many operators, and took seven seconds.)

Shape letters: H rows and W columns of a picture, C its channels (1 or 3), S side of the square, N
sides of pictures, P places on them, T pixels that a place is made of, at most.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import PIL
from onnxscript import ir, opset18

_ONE = 2.0**22  # how Pillow stores a weight of 1
_LIMB = 2.0**12  # larger numbers of weights are pairs: multiples of it, and what is left
_LOW = 2.0**8  # weights are split there, so that sums of 255 times each half stay below 2^24
# from 13 on it resizes the columns first where the height shrinks far more than the width
_TALL_FIRST = int(PIL.__version__.split(".")[0]) >= 13

op: Any = opset18
Value = Any
_Pair = tuple[Value, Value]


def squares(
    picture: Value, white: Value, size: int, resize: str, interpolation: str, bit_depth: int
) -> Value:
    """Uint16 [H, W, C] to float32 [3, S, S], whole numbers 0..255.

    white: white level [] of the file's format, uint16, 255 or 65535; that of `bit_depth` counts
        where it is smaller. Others: see `images.geometry.Geometry`.
    """
    pixels = eight_bits(op.Transpose(picture, perm=[2, 0, 1]), white, bit_depth)
    shape = op.Shape(picture)
    height, width, channels = (_at(shape, place) for place in range(3))
    # how many pixels become one, rounded up: at most, of either side, whatever `resize` is
    ratio = (height + width) * _int(2) / _int(size) + _int(1)
    # both sides at once, as the weights are a good part of the graph
    before = _double(op.Gather(shape, _int([1, 0])))
    after = _resized(before, size, resize)
    places = _places(after, size, resize)
    weights, pixel = pillow_weights(places, ratio, before, after, interpolation)
    across, down = (
        spread_weights(_at(weights, place), _at(pixel, place), count)
        for place, count in enumerate((width, height))
    )
    square = _multiplied(pixels, across, down, before - after)
    if resize == "pad":
        inside = op.And(places >= _number(0), places < op.Unsqueeze(after, _int([1])))
        inside = op.And(op.Unsqueeze(_at(inside, 1), _int([1])), _at(inside, 0))
        mean = op.Round(op.ReduceMean(_double(pixels), keepdims=0))
        square = op.Where(inside, square, _float(mean))
    return op.Gather(square, op.Min(_int([0, 1, 2]), channels - _int(1)))


def eight_bits(picture: Value, white: Value, bit_depth: int) -> Value:
    """Integers of any shape to float32 0..255, rounded; see `images.deep.to_eight_bits`.

    Samples over the white level become white here, where that refuses the file.
    """
    level = op.Min(_float(white), _single(2**bit_depth - 1))
    scaled = _float(picture) * _single(255) + op.Floor(level / _single(2))  # below 2^24
    return op.Min(_quotient(scaled, level), _single(255))


def pillow_weights(
    places: Value, ratio: Value, before: Value, after: Value, interpolation: str
) -> _Pair:
    """Weights float64 [N, P, T], whole numbers, and of which pixels, for places float64 [N, P].

    As Pillow's `Resample.c` computes them for 8-bit pixels. before, after: pixels of the sides
    float64 [N]. ratio: int64 [], not below before / after. Outside of the side weights are 0.
    """
    curve, half = (
        (_triangle, ratio + _int(1))
        if interpolation == "bilinear"
        else (_cubic, ratio * _int(2) + _int(1))
    )
    before, after = (op.Unsqueeze(each, _int([1])) for each in (before, after))
    # of a place, in pixels: centre / unit
    centre, unit = (places * _number(2) + _number(1)) * before, after * _number(2)
    whole = op.Floor(centre / unit)
    # only the pixels near the place's centre: T = 2 half + 1
    near = _double(op.Range(op.Neg(half), half + _int(1), _int(1)))
    distance = op.Abs(_column(unit) * near + _column(after - centre + unit * whole))
    pixel = _column(whole) + near
    inside = op.And(pixel >= _number(0), pixel < _column(before))
    reach = _column(op.Max(before, after) * _number(2))  # the filter's unit of length
    high, low = (op.Where(inside, each, _number(0)) for each in curve(distance, reach))
    # centres that are outside by more have no pixels inside
    half = _double(half)
    first = op.Min(op.Max(whole, op.Neg(half)), before + half)
    return _shares(high, low), _column(first) + near


def spread_weights(weights: Value, pixel: Value, count: Value) -> Value:
    """Weights [P, count] of all pixels from those of some, both [P, T]; see `pillow_weights`."""
    shape = op.Shape(pixel)
    margin = op.Slice(shape, _int([1]), _int([2]))
    columns = op.Concat(op.Slice(shape, _int([0]), _int([1])), margin * _int(2) + count, axis=0)
    wide = op.Expand(_number(0), columns)
    wide = op.ScatterElements(wide, op.Cast(pixel, to=ir.DataType.INT64) + margin, weights, axis=1)
    return op.Slice(wide, margin, margin + count, _int([1]))


def _resized(before: Value, size: int, resize: str) -> Value:
    """Width and height [2] after resizing, before `crop` cuts and `pad` fills."""
    if resize == "stretch":
        return _number([size, size])
    if resize == "crop":
        return _quotient(before * _number(size), op.ReduceMin(before))
    return op.Max(_nearest(before * _number(size), op.ReduceMax(before)), _number(1))


def _places(after: Value, size: int, resize: str) -> Value:
    """Which places of resized sides of `after` pixels [2] the square has, [2, S]."""
    first = (after - _number(size)) / _number(2)
    first = op.Round(first) if resize == "crop" else op.Neg(op.Floor(op.Neg(first)))
    return _number(range(size)) + op.Unsqueeze(first, _int([1]))


def _triangle(distance: Value, reach: Value) -> _Pair:
    """1 - x for x = distance / reach below 1, of whole numbers, times reach."""
    curve = op.Max(reach - distance, _number(0))
    return curve * _number(0), curve


def _cubic(distance: Value, reach: Value) -> _Pair:
    """Keys's cubic with a = -0.5 at distance / reach, of whole numbers, times 2 reach^3."""
    twice = reach * _number(2)
    middle = _product(reach * reach, twice)
    falling = _product(distance * distance, reach * _number(5) - distance * _number(3))
    left = twice - distance
    far = _product(left * left, reach - distance)
    inside, outside = distance < reach, distance < twice
    high, low = (
        op.Where(inside, all_ - less, op.Where(outside, beyond, _number(0)))
        for all_, less, beyond in zip(middle, falling, far, strict=True)
    )
    return high, low


def _product(left: Value, right: Value) -> _Pair:
    high = op.Floor(left / _number(_LIMB))
    return high * right, (left - high * _number(_LIMB)) * right


def _shares(high: Value, low: Value) -> Value:
    """A pair's numbers [N, P, T] as shares of their sums, times 2^22, rounded: long division."""
    limb = _number(_LIMB)
    sign = op.Sign(high * limb + low)
    all_high, all_low = (op.ReduceSum(each, _int([-1])) for each in (high, low))
    total = all_high * limb + all_low
    # of places outside, which no pixel reaches
    total = op.Where(op.Equal(total, _number(0)), _number(1), total)
    high, low, shares = sign * high, sign * low, _number(0)
    for bits in (8, 8, 6):
        shift = _number(2**bits)
        carried = op.Floor(low * shift / limb)
        high, low = high * shift + carried, low * shift - carried * limb
        digit = op.Floor((high * limb + low) / total)  # a wrong one is made up for by the next
        shares = shares * shift + digit
        high, low = high - digit * all_high, low - digit * all_low
    return sign * (shares + op.Floor((high * limb + low) / total + _number(0.5)))


def _quotient(number: Value, divisor: Value) -> Value:
    """The whole part of number / divisor of whole numbers, of either kind of floats.

    Exact also where the division is rounded to a whole number, or is a product with 1 / divisor.
    """
    whole = op.Floor(number / divisor)
    rest = number - whole * divisor
    less = op.CastLike(rest < op.CastLike(_int(0), rest), number)
    return whole - less + op.CastLike(rest >= divisor, number)


def _nearest(number: Value, divisor: Value) -> Value:
    """Number / divisor of whole numbers, float64, rounded, a half to the even one."""
    whole = _quotient(number, divisor)
    side = op.Sign((number - whole * divisor) * _number(2) - divisor)  # of a half
    return op.Round(whole + _number(0.5) + side / _number(4))


def _multiplied(pixels: Value, across: Value, down: Value, less: Value) -> Value:
    """Float32 [C, S, S] of pixels [C, H, W] and weights [S, W] and [S, H].

    less: by how many pixels the width and the height shrink, [2].
    """
    operands = (pixels, _halves(op.Transpose(across, perm=[1, 0])), _halves(down))
    if not _TALL_FIRST:
        return _rows_first(op, *operands)
    wide, high = (_at(less, place) for place in (0, 1))
    tall = op.And(high > _number(0), high > wide * _number(2))
    return op.If(
        tall,
        then_branch=_branch(_columns_first, *operands),
        else_branch=_branch(_rows_first, *operands),
    )


def _rows_first(ops: Any, pixels: Value, across: _Pair, down: _Pair) -> Value:
    narrow = _rounded(ops, *(ops.MatMul(pixels, each) for each in across))
    return _rounded(ops, *(ops.MatMul(each, narrow) for each in down))


def _columns_first(ops: Any, pixels: Value, across: _Pair, down: _Pair) -> Value:
    short = _rounded(ops, *(ops.MatMul(each, pixels) for each in down))
    return _rounded(ops, *(ops.MatMul(short, each) for each in across))


def _rounded(ops: Any, high: Value, low: Value) -> Value:
    """Sums of both halves as one 8-bit number; all steps are exact."""
    sums, whole = _single(_ONE / _LOW / 2), _single(_ONE / _LOW)
    total = ops.Add(ops.Add(high, ops.Floor(ops.Div(low, _single(_LOW)))), sums)
    return ops.Clip(ops.Floor(ops.Div(total, whole)), _single(0), _single(255))


def _halves(weights: Value) -> _Pair:
    """Whole numbers as float32 of both halves: multiples of `_LOW`, and what is left."""
    high = op.Round(weights / _number(_LOW))
    return _float(high), _float(weights - high * _number(_LOW))


class _BranchOps:
    """The operators of a branch, which are none of the graph around it."""

    def __init__(self, branch: str) -> None:
        self.tape, self._branch = ir.tape.Tape(), branch

    def __getattr__(self, operator: str) -> Callable[..., Value]:
        def add(*inputs: Value) -> Value:
            value = self.tape.op(operator, inputs)
            value.name = f"{self._branch}_{len(self.tape.nodes)}"  # one that is nowhere else
            return value

        return add


def _branch(order: Callable[..., Value], *operands: Any) -> ir.Graph:
    ops = _BranchOps(order.__name__.strip("_"))
    square = order(ops, *operands)
    return ir.Graph([], [square], nodes=ops.tape.nodes, name=square.name)


def _at(values: Value, place: int) -> Value:
    return op.Gather(values, _int(place))


def _column(values: Value) -> Value:
    return op.Unsqueeze(values, _int([2]))


def _double(values: Value) -> Value:
    return op.Cast(values, to=ir.DataType.DOUBLE)


def _float(values: Value) -> Value:
    return op.Cast(values, to=ir.DataType.FLOAT)


def _int(numbers: int | list[int]) -> Value:
    return _constant(numbers, np.int64)


def _number(numbers: float | Iterable[float]) -> Value:
    return _constant(numbers, np.float64)


def _single(number: float) -> Value:
    return _constant(number, np.float32)


def _constant(numbers: object, kind: type[np.generic]) -> Value:
    return op.Constant(value=ir.tensor(np.array(numbers, kind)))
