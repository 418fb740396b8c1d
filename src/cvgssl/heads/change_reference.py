"""What is measured of a picture to notice that pictures change: how it is beside train pictures.

Shape letters: N reference pictures, M others, D numbers of an embedding, P of a displacement,
V = 4 + P values of a picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from cvgssl.features.graph import nearest_neighbours
from cvgssl.heads.base import Floats

NEIGHBOURS = 5
KEPT = 4000  # reference rows at most
WIDTH = 32  # numbers of a displacement
CHUNK = 1024
LEAST = 20  # reference rows
SMALLEST = 1e-12


class Measured(NamedTuple):
    """Of M pictures. values: [M, V], see `Reference`. nearest: rows of the reference [M]."""

    values: Floats
    nearest: NDArray[np.intp]


class Reference:
    """Train pictures as a recognizer keeps them, which new pictures are measured against.

    The values of a picture:

    - distance: one minus the mean cosine to the five nearest of them; large for a kind that is
      not there (Sun, Ming, Zhu & Li 2022, ICML, "Out-of-distribution detection with deep nearest
      neighbors");
    - light: level, contrast and sharpness, see `light_of`;
    - displacement [P]: from the mean of the five, on the principal axes of the displacements
      among the reference pictures themselves, in their standard deviations. It has little to do
      with what is shown, so that what all pictures share (light, focus, camera) shows.
    """

    def __init__(self, rows: Floats) -> None:
        """rows: [N, D] of length 1 (`Preparation`), at least 20; of more than 4000 a draw."""
        if len(rows) < LEAST:
            raise ValueError(f"{len(rows)} reference pictures: at least {LEAST} are needed")
        self._places = np.sort(np.random.default_rng(0).permutation(len(rows))[:KEPT])
        # float32: neighbours are found in a third of the time
        self._rows = rows[self._places].astype(np.float32)
        starts = range(0, len(self._rows), CHUNK)
        away = np.concatenate([self._beside(self._rows[at : at + CHUNK], at)[1] for at in starts])
        self._mean = away.mean(axis=0)
        size = rows.shape[1]
        width = min(WIDTH, len(self._rows) - 1, size)
        spread, axes = eigh(np.cov(away, rowvar=False), subset_by_index=[size - width, size - 1])
        self._axes = axes / np.sqrt(spread.clip(SMALLEST))

    def measure(self, rows: Floats, light: Floats) -> Measured:
        """Of other pictures, rows [M, D] of length 1 and light [M, 3]."""
        distance, away, nearest = self._beside(rows)
        displacement = (away - self._mean) @ self._axes
        values = np.column_stack([distance, light, displacement])
        return Measured(values, self._places[nearest])

    def _beside(
        self, rows: NDArray[np.floating], own: int | None = None
    ) -> tuple[Floats, Floats, NDArray[np.intp]]:
        neighbours = min(NEIGHBOURS, len(self._rows) - 1)
        cosine, places = nearest_neighbours(rows.astype(np.float32), self._rows, neighbours, own)
        distance: Floats = (1 - cosine.mean(axis=1, dtype=np.float64)).clip(0)
        return distance, rows - self._rows[places].mean(axis=1, dtype=np.float64), places[:, 0]


def light_of(pixels: NDArray[np.uint8]) -> Floats:
    """Level, contrast and sharpness [3] of a square [C, S, S], as natural logarithms.

    Mean and standard deviation of the gray levels, and the mean absolute Laplacian over the latter.
    """
    samples = pixels.astype(np.float32)
    gray = samples[0] if len(samples) == 1 else samples.mean(axis=0)
    # in place, for new arrays take most of the time
    edges = 4 * gray[1:-1, 1:-1]
    around = gray[:-2, 1:-1] + gray[2:, 1:-1]
    around += gray[1:-1, :-2]
    around += gray[1:-1, 2:]
    edges -= around
    sharpness = np.abs(edges, out=edges).mean() + 0.1
    level = gray.mean()
    gray -= level
    contrast = np.sqrt(np.square(gray, out=gray).mean()) + 1
    return np.log(np.array([level + 1, contrast, sharpness / contrast], dtype=np.float64))
