"""Curves on a plate: where they run, and how far every pixel is from them.

N curves, L points per curve; points are (row, column) in pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from cvgssl.images.surfaces.texture import SIDE, Field


@dataclass(frozen=True)
class NearestPoints:
    """For every pixel, the nearest point of any curve.

    curve: index of the curve, int64 [SIDE, SIDE].
    along: pixels from the curve's start to that point.
    across: signed distance from the curve, pixels, exact below one pixel.
    distance: distance from the point; larger than |across| beyond a curve's ends.
    """

    curve: NDArray[np.int64]
    along: Field
    across: Field
    distance: Field


def walk(
    start: Field, heading: Field, turn: Field, drift: float, rng: np.random.Generator, length: int
) -> Field:
    """Curves of `length` one-pixel steps, float64 [N, L, 2].

    start [N, 2]; heading [N], radians from the vertical; turn [N], random change of heading per
    step, which decays so that a curve keeps its general direction; drift, radians per step by
    which all headings turn steadily.
    """
    count = len(start)
    direction = np.empty((count, length))
    wander = np.zeros(count)
    for i in range(length):
        wander = 0.9 * wander + turn * rng.standard_normal(count)
        direction[:, i] = heading + wander + drift * i
    steps = np.stack([np.cos(direction), np.sin(direction)], axis=-1)
    points: Field = start[:, None, :] + np.cumsum(steps, axis=1)
    return points


def nearest_curve(points: Field, lengths: NDArray[np.int64]) -> NearestPoints | None:
    """Distances of all pixels from the curves `points` [N, L, 2], of which `lengths` [N] count.

    None when no curve crosses the picture.
    """
    tangent = np.gradient(points, axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-12
    cell = np.rint(points).astype(np.int64)
    used = np.arange(points.shape[1]) < lengths[:, None]
    inside = used & ((cell >= 0) & (cell < SIDE)).all(axis=-1)
    if not inside.any():
        return None
    curve, order = np.nonzero(inside)
    rows, columns = cell[inside].T
    owner = np.full((SIDE, SIDE), -1)
    owner[rows, columns] = np.arange(len(rows))
    place = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    point = owner[place[0], place[1]]
    y, x = np.mgrid[:SIDE, :SIDE]
    offset_y = y - points[inside][point, 0]
    offset_x = x - points[inside][point, 1]
    tangent_y, tangent_x = tangent[inside][point].transpose(2, 0, 1)
    lead = offset_y * tangent_y + offset_x * tangent_x
    across = offset_x * tangent_y - offset_y * tangent_x
    # Half a step along the curve is due to the spacing of its points, not to its end.
    beyond = np.maximum(np.abs(lead) - 0.75, 0)
    return NearestPoints(curve[point], order[point] + lead, across, np.hypot(across, beyond))
