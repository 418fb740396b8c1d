"""One generated picture, a function of its class, the seed and its number alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.surfaces.cracks import crazing, scratches
from cvgssl.images.surfaces.light import expose
from cvgssl.images.surfaces.pits import pitted_surface, rolled_in_scale
from cvgssl.images.surfaces.plate import Coil, Usual, draw_coil, ground
from cvgssl.images.surfaces.stains import inclusion, patches
from cvgssl.images.surfaces.texture import SIDE, Field

COIL_LENGTH = 10  # pictures of each class in a row that show the same coil
_COIL, _PICTURE = 0, 1  # what a random stream is for

_Defect = Callable[[Field, Coil, np.random.Generator], Field]
_DEFECTS: dict[str, tuple[_Defect, Usual]] = {
    "crazing": (crazing, Usual(brightness=(100, 190), grain=(0.09, 0.16))),
    "inclusion": (inclusion, Usual(brightness=(70, 140), grain=(0.02, 0.04))),
    "patches": (patches, Usual(brightness=(110, 250), grain=(0.07, 0.14))),
    "pitted_surface": (pitted_surface, Usual(brightness=(140, 225), grain=(0.02, 0.05))),
    "rolled-in_scale": (rolled_in_scale, Usual(brightness=(100, 160), grain=(0.05, 0.1))),
    "scratches": (scratches, Usual(brightness=(60, 130), grain=(0.02, 0.06))),
}
KINDS = tuple(_DEFECTS)


def generate_surface(kind: str, seed: int, index: int, size: int = SIDE) -> NDArray[np.uint8]:
    """Picture number `index` of a class of defect, uint8 [size, size].

    kind: one of `KINDS`. index: 0 or more; ten pictures in a row show the same coil. Sizes other
    than 200 are resampled from 200 pixels.
    """
    number = KINDS.index(kind)
    draw, usual = _DEFECTS[kind]
    coil = draw_coil(_generator(seed, number, _COIL, index // COIL_LENGTH), usual)
    rng = _generator(seed, number, _PICTURE, index)
    picture = expose(draw(ground(coil, rng), coil, rng), coil, rng)
    if size == SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
