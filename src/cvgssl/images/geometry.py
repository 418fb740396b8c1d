"""How a picture of any size becomes a square of pixels."""

from dataclasses import dataclass
from typing import Literal

ResizeMode = Literal["stretch", "pad", "crop"]
Interpolation = Literal["bilinear", "bicubic"]

MAX_MEGAPIXELS = 128
"""Millions of pixels of the largest picture that is read, unless an option says otherwise."""
LARGEST_MEGAPIXELS = 4000
"""The most that the option takes."""


@dataclass(frozen=True)
class Geometry:
    """The steps between a file and a square uint8 picture; part of a model's preprocessing.

    size: side of the square, pixels.
    resize: `stretch` resizes both sides to `size` (nothing is lost, no border is invented);
        `pad` keeps the aspect and fills with the picture's mean gray; `crop` resizes the short
        side and cuts the centre out, which loses the ends of a long picture.
    interpolation: antialiased resampling filter.
    bit_depth: white level of 16-bit files is `2**bit_depth - 1`, 8..16; cameras that store
        12-bit readings in 16-bit files need 12.
    """

    size: int = 224
    resize: ResizeMode = "stretch"
    interpolation: Interpolation = "bilinear"
    bit_depth: int = 16


@dataclass(frozen=True)
class Whole:
    """A picture as it is, for what resizes it itself.

    bit_depth: as of `Geometry`.
    """

    bit_depth: int = 16
