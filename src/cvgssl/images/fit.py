"""From a picture of any size to a square of pixels, by Pillow's antialiased resampling."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.geometry import Geometry

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def fit_square(pixels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, 3] to uint8 [1 or 3, S, S].

    `stretch` and `crop` equal torchvision's `Resize((S, S))` and `Resize(S)` + `CenterCrop(S)` of
    the Pillow picture, pixel for pixel. Raises ValueError when `crop` would make a picture so
    thin that it exceeds Pillow's size limit on the way.
    """
    image = Image.fromarray(pixels)
    side, resample = geometry.size, _FILTERS[geometry.interpolation]
    width, height = image.size
    if geometry.fit == "stretch":
        square = image.resize((side, side), resample)
    elif geometry.fit == "crop":
        short = min(width, height)
        wide, high = int(side * width / short), int(side * height / short)
        if wide * high > (Image.MAX_IMAGE_PIXELS or wide * high):
            raise ValueError(f"too thin for --fit crop ({width} x {height}); use stretch or pad")
        left, top = round((wide - side) / 2), round((high - side) / 2)
        square = image.resize((wide, high), resample).crop((left, top, left + side, top + side))
    else:
        long = max(width, height)
        wide, high = (max(1, round(side * length / long)) for length in (width, height))
        gray = round(float(pixels.mean()))
        square = Image.new(image.mode, (side, side), gray if pixels.ndim == 2 else (gray,) * 3)
        square.paste(image.resize((wide, high), resample), ((side - wide) // 2, (side - high) // 2))
    array = np.asarray(square)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
