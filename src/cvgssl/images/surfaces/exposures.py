"""A part's pictures and the boxes of its defects, from the part's place in the plan."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.surfaces.kinds import (
    COIL,
    DEFECT,
    DEFECTS,
    EXPOSURE,
    GOOD,
    KINDS,
    MARKS,
    PICTURE,
    generator,
)
from cvgssl.images.surfaces.local import LocalDefect, PixelBox, box_area, draw_local
from cvgssl.images.surfaces.marks import draw_plant_coil, harmless_marks
from cvgssl.images.surfaces.plan import COIL_LENGTH, FILLED, Part, Plant
from cvgssl.images.surfaces.plate import Coil, draw_coil, expose, ground
from cvgssl.images.surfaces.texture import SIDE, Field

_SMALLER = 0.8  # of the largest defect's box at most, which leaves room for rounding
_SHIFT = 4  # pixels at most from an exposure to the first


@dataclass(frozen=True)
class Exposure:
    """A picture of a part.

    pixels: uint8 [size, size]. boxes: kind and box of every defect, largest first.
    """

    pixels: NDArray[np.uint8]
    boxes: tuple[tuple[str, PixelBox], ...]


def generate_surface(kind: str, seed: int, index: int, size: int = SIDE) -> NDArray[np.uint8]:
    """Picture number `index` of a class of defect, uint8 [size, size].

    kind: one of `KINDS`. index: 0 or more; ten pictures in a row show the same coil. Sizes other
    than 200 are resampled from 200 pixels.
    """
    (picture,) = draw_part(Part(kind, index, test=False), FILLED, seed, size)
    return picture.pixels


def draw_part(part: Part, plant: Plant, seed: int, size: int = SIDE) -> Iterator[Exposure]:
    """The exposures of a part, each uint8 [size, size] with its boxes."""
    rng = generator(seed, part.label, PICTURE, part.index)
    coil = _coil(part, seed)
    surface = ground(coil, rng)
    if part.coil is not None:
        marks = generator(seed, part.label, MARKS, part.index)
        surface = harmless_marks(surface, coil, marks)
    boxes: tuple[tuple[str, PixelBox], ...] = ()
    if part.label != GOOD and plant.defect_area == 1:
        surface = DEFECTS[part.label].draw(surface, coil, rng)
        boxes = ((part.label, (0, 0, SIDE, SIDE)),)
    elif part.label != GOOD:
        defects = list(_local_defects(part, coil, plant, seed))
        for _, defect in defects:
            surface = surface * (1 + defect.change)
        boxes = tuple((kind, defect.box) for kind, defect in defects)
    yield _resized_exposure(expose(surface, coil, rng), boxes, size)
    for number in range(1, plant.exposures):
        again = generator(seed, part.label, EXPOSURE, part.index, number)
        yield _exposure_again(surface, boxes, coil, again, size)


def _coil(part: Part, seed: int) -> Coil:
    if part.coil is not None:
        return draw_plant_coil(generator(seed, "", COIL, part.coil))
    rng = generator(seed, part.label, COIL, part.index // COIL_LENGTH)
    return draw_coil(rng, DEFECTS[part.label].usual)


def _local_defects(
    part: Part, coil: Coil, plant: Plant, seed: int
) -> Iterator[tuple[str, LocalDefect]]:
    """The part's own defect, then smaller ones of any kind, clear of one another."""
    rng = generator(seed, part.label, DEFECT, part.index)
    count = int(rng.integers(1, plant.defects_per_picture + 1))
    area = plant.defect_area * float(np.exp(rng.uniform(-0.4, 0.4)))
    largest = draw_local(DEFECTS[part.label], coil, rng, area)
    assert largest is not None, "nothing is in its way"
    yield part.label, largest
    boxes = [largest.box]
    for _ in range(count - 1):
        kind = KINDS[rng.integers(len(KINDS))]
        area = rng.uniform(0.2, 0.7) * box_area(largest.box) / SIDE**2
        defect = draw_local(DEFECTS[kind], coil, rng, area, boxes)
        if defect is not None and box_area(defect.box) < _SMALLER * box_area(largest.box):
            boxes.append(defect.box)
            yield kind, defect


def _exposure_again(
    surface: Field,
    boxes: tuple[tuple[str, PixelBox], ...],
    coil: Coil,
    rng: np.random.Generator,
    size: int,
) -> Exposure:
    """The same surface a little shifted, in another light."""
    down, right = map(int, rng.integers(-_SHIFT, _SHIFT + 1, 2))
    wide = np.pad(surface, _SHIFT, mode="reflect")
    shifted = wide[_SHIFT - down :, _SHIFT - right :][:SIDE, :SIDE]
    contrast = np.exp(rng.normal(0, 0.15))
    pixels = expose(np.maximum(1 + contrast * (shifted - 1), 0), coil, rng)
    return _resized_exposure(
        pixels, tuple((kind, _moved(box, down, right)) for kind, box in boxes), size
    )


def _moved(box: PixelBox, down: int, right: int) -> PixelBox:
    columns = np.clip((box[0] + right, box[2] + right), 0, SIDE)
    rows = np.clip((box[1] + down, box[3] + down), 0, SIDE)
    return (int(columns[0]), int(rows[0]), int(columns[1]), int(rows[1]))


def _resized_exposure(
    pixels: NDArray[np.uint8], boxes: tuple[tuple[str, PixelBox], ...], size: int
) -> Exposure:
    if size == SIDE:
        return Exposure(pixels, boxes)
    small = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
    return Exposure(np.asarray(small), tuple((kind, _resized(box, size)) for kind, box in boxes))


def _resized(box: PixelBox, size: int) -> PixelBox:
    """The box in a picture of another size, rounded outwards."""
    x_min, y_min = (place * size // SIDE for place in box[:2])
    x_max, y_max = (-(-place * size // SIDE) for place in box[2:])
    return (x_min, y_min, x_max, y_max)
