"""The classes of generated pictures, and where their random numbers come from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cvgssl.images.surfaces.defects import (
    crazing,
    inclusion,
    patches,
    pitted_surface,
    rolled_in_scale,
    scratches,
)
from cvgssl.images.surfaces.plate import Coil, Usual
from cvgssl.images.surfaces.texture import Field

Draw = Callable[[Field, Coil, np.random.Generator], Field]


@dataclass(frozen=True)
class Kind:
    """A kind of defect.

    prefix: what file names begin with, as NEU's. usual: most steel that it fills the picture of.
    stretch: range of how many times longer a small defect's box is along the rolling direction
    than across. extent: side in pixels of what belongs together, which a smaller box shows
    reduced; 0 when a part of it looks the same (a few pits of many, a piece of a scratch).
    """

    prefix: str
    draw: Draw
    usual: Usual
    stretch: tuple[float, float]
    extent: float = 0.0


DEFECTS = {
    "crazing": Kind("Cr", crazing, Usual((100, 190), (0.09, 0.16)), (0.5, 1.2)),
    "inclusion": Kind("In", inclusion, Usual((70, 140), (0.02, 0.04)), (1.5, 5.0)),
    "patches": Kind("Pa", patches, Usual((110, 250), (0.07, 0.14)), (0.8, 2.0), extent=100),
    "pitted_surface": Kind("PS", pitted_surface, Usual((140, 225), (0.02, 0.05)), (0.7, 2.0)),
    "rolled-in_scale": Kind("RS", rolled_in_scale, Usual((100, 160), (0.05, 0.1)), (0.5, 1.2)),
    "scratches": Kind("Sc", scratches, Usual((60, 130), (0.02, 0.06)), (1.5, 6.0)),
}
KINDS = tuple(DEFECTS)
GOOD = "good"
_NUMBERS = {name: number for number, name in enumerate((*KINDS, GOOD))}

# what a random stream is for
COIL, PICTURE, MARKS, DEFECT, EXPOSURE, PLAN = range(6)


def prefix_of(label: str) -> str:
    """What the file names of a class begin with."""
    return "Go" if label == GOOD else DEFECTS[label].prefix


def generator(seed: int, label: str, *words: int) -> np.random.Generator:
    """The stream of random numbers of a class; "" for what all classes share."""
    number = _NUMBERS.get(label, len(_NUMBERS))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, number, *words))))
