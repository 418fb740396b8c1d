"""What random views may look like. Imports no torch."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class ViewRecipe:
    """A distribution of views of one picture.

    size: side of the view, pixels.
    scale: smallest and largest area of the crop, as a share of the picture's area, 0..1.
    ratio: smallest and largest width over height of the crop, drawn on a logarithmic scale.
    brightness, contrast: half widths of the factors' ranges, 0..1 (0.2: factors 0.8..1.2).
    gray, blur, flip_x, flip_y: probabilities, 0..1. flip_x mirrors left and right.
    blur_sigma: smallest and largest standard deviation of the Gaussian blur, pixels of the view.
    """

    size: int
    scale: Range
    ratio: Range = (3 / 4, 4 / 3)
    brightness: float = 0.2
    contrast: float = 0.2
    gray: float = 0.0
    blur: float = 0.0
    blur_sigma: Range = (0.1, 2.0)
    flip_x: float = 0.5
    flip_y: float = 0.0
