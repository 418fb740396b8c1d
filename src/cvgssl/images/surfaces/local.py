"""A defect that covers a small part of the picture: a piece of a large drawing, faded in.

Every kind of defect is drawn on an even ground, which leaves its relative change of brightness. A
piece of that with much of the defect in it is put at a random place under a soft, ragged window.
So the defect keeps the size of its details, and the ground under it runs on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter, zoom

from cvgssl.images.surfaces.kinds import Kind
from cvgssl.images.surfaces.plate import Coil
from cvgssl.images.surfaces.texture import SIDE, Field, noise, step

PixelBox = tuple[int, int, int, int]
"""Columns and rows of a rectangle: x_min, y_min, x_max, y_max, of which the last two are beyond."""

_FAINT = 0.04  # relative change of brightness that counts as none
_BLUR = 2  # pixels that a camera's blur carries a defect beyond its drawing
_DRAWINGS = 10
_LIKENESS = 0.7  # of a box's area to the wanted one that is near enough
_VISIBLE = 3.5  # times the texture's contrast at the scale of the eye
_PLACES = 30  # tries to keep clear of other defects
_SMALLEST = 6  # pixels
_LARGEST = SIDE - 10


@dataclass(frozen=True)
class LocalDefect:
    """change: relative change of brightness, zero outside of `box`."""

    change: Field
    box: PixelBox


def draw_local(
    kind: Kind, coil: Coil, rng: np.random.Generator, area: float, others: Sequence[PixelBox] = ()
) -> LocalDefect | None:
    """A defect whose box covers about `area` of the picture, 0..1, clear of the boxes `others`.

    None when no place was clear.
    """
    piece = _piece(kind, coil, rng, area * SIDE**2)
    rows, columns = piece.shape
    for _ in range(_PLACES):
        top = int(rng.integers(0, SIDE - rows + 1))
        left = int(rng.integers(0, SIDE - columns + 1))
        change = np.zeros((SIDE, SIDE))
        change[top : top + rows, left : left + columns] = piece
        box = _box(change)
        if not any(overlap(box, other) for other in others):
            return LocalDefect(change, box)
    return None


def box_area(box: PixelBox) -> int:
    """Pixels in a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a: PixelBox, b: PixelBox) -> bool:
    """Whether two boxes share a pixel."""
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


def _piece(kind: Kind, coil: Coil, rng: np.random.Generator, wanted: float) -> Field:
    """Relative change of brightness, [rows, columns], whose box has about `wanted` pixels."""
    stretch = float(np.exp(rng.uniform(*np.log(kind.stretch))))
    best, highest = np.zeros((_SMALLEST, _SMALLEST)), 0.0
    for drawing in count(1):  # white steel shows no bright scratch, however often it is drawn
        drawn = kind.draw(np.ones((SIDE, SIDE)), coil, rng) - 1
        if kind.extent and (factor := np.sqrt(wanted) / kind.extent) < 1:
            drawn = zoom(uniform_filter(drawn, max(round(0.5 / factor), 1)), factor, order=1)
        size = wanted
        for _ in range(3):  # a thin scratch has a smaller box than the window upon it
            rows = _side(np.sqrt(size * stretch), len(drawn))
            columns = _side(np.sqrt(size / stretch), len(drawn))
            piece = _faded(_richest(drawn, rows, columns, rng), rng)
            covered = box_area(_box(np.pad(piece, _BLUR)))
            likeness = min(covered / wanted, wanted / max(covered, 1))
            score = min(likeness / _LIKENESS, _visibility(piece, coil) / _VISIBLE)
            if score > highest:
                best, highest = piece, score
            if score >= 1:
                return best
            if likeness >= _LIKENESS:
                break
            size *= wanted / max(covered, 0.4 * wanted)
        if drawing >= _DRAWINGS and highest > 0:
            break
    return best


def _visibility(piece: Field, coil: Coil) -> float:
    """How much a defect differs from this coil's texture; white cannot become whiter."""
    shown = np.minimum(piece, max(200 / coil.brightness - 1, 0.0))
    strongest = np.abs(gaussian_filter(shown, 1.5)).max()
    return float(strongest / (0.5 * coil.roughness + 0.02))


def _side(length: float, longest: int) -> int:
    return int(np.clip(round(length), _SMALLEST, min(longest, _LARGEST)))


def _richest(drawn: Field, rows: int, columns: int, rng: np.random.Generator) -> Field:
    """One of the pieces of a size that have the most of the defect."""
    strength = uniform_filter(drawn**2, (rows, columns), mode="constant")
    tops, lefts = len(drawn) - rows + 1, len(drawn) - columns + 1
    strength = strength[rows // 2 :, columns // 2 :][:tops, :lefts]
    top, left = rng.choice(np.argwhere(strength >= 0.8 * strength.max()))
    return drawn[top : top + rows, left : left + columns]


def _faded(piece: Field, rng: np.random.Generator) -> Field:
    """`piece` under a window of ragged shape that falls to zero before its sides."""
    rows, columns = piece.shape
    y = np.abs(np.linspace(-1, 1, rows))[:, None]
    x = np.abs(np.linspace(-1, 1, columns))[None, :]
    radius = (y**3 + x**3) ** (1 / 3)
    coarse = min(rows, columns) / 5
    ragged = radius * np.exp(0.3 * noise(rng, coarse, coarse)[:rows, :columns])
    window = step(0.7 - np.maximum(ragged, 2 * radius - 1), 0.3)
    faint = np.maximum(np.abs(piece * window) - _FAINT, 0)
    faded: Field = np.sign(piece) * faint
    return faded


def _box(change: Field) -> PixelBox:
    """The box around what is not zero, with a margin for blur."""
    rows, columns = (np.flatnonzero(change.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return (0, 0, 0, 0)
    height, width = change.shape
    return (
        max(int(columns[0]) - _BLUR, 0),
        max(int(rows[0]) - _BLUR, 0),
        min(int(columns[-1]) + 1 + _BLUR, width),
        min(int(rows[-1]) + 1 + _BLUR, height),
    )
