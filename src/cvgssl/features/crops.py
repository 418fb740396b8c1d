"""Several looks at the same picture, to be averaged: crops spread evenly, mirror images, turns.

Shapes: B pictures, C channels, S side of the picture, s side of a crop.
"""

from collections.abc import Iterator

from torch import Tensor

from cvgssl.features.config import Flips

# the first points of this sequence leave no gaps, however many are taken: Roberts, "The
# unreasonable effectiveness of quasirandom sequences" (2018), powers of the plastic number
STEPS = (0.7548776662466927, 0.5698402909980532)
AXES: dict[Flips, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (3,)),
    "both": ((), (3,), (2,), (2, 3)),
    "rotations": ((), (3,), (2,), (2, 3)),  # and the same of the transposed picture
}


def looks(pixels: Tensor, crops: int, side: float, flips: Flips) -> Iterator[Tensor]:
    """Views float [B, C, s, s] of float pixels [B, C, S, S], the same for every picture.

    crops: how many; 1 is the whole picture. side: s / S, 0..1. Every crop in each of its 1, 2, 4
    or 8 mirror images and turns.
    """
    for crop in _crops(pixels, crops, side):
        turned = (crop, crop.transpose(2, 3)) if flips == "rotations" else (crop,)
        for one in turned:
            for axes in AXES[flips]:
                yield one.flip(axes) if axes else one


def _crops(pixels: Tensor, crops: int, side: float) -> Iterator[Tensor]:
    if crops == 1:
        yield pixels
        return
    size = max(1, round(side * pixels.shape[-1]))
    spare = pixels.shape[-1] - size
    for number in range(crops):
        top, left = (round(spare * ((0.5 + number * step) % 1)) for step in STEPS)
        yield pixels[..., top : top + size, left : left + size]
