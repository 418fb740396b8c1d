"""What varies on good parts of a plant: grades of steel, and marks that are no defects."""

from dataclasses import replace

import numpy as np

from cvgssl.images.surfaces.kinds import DEFECTS
from cvgssl.images.surfaces.plate import Coil, draw_coil
from cvgssl.images.surfaces.texture import SIDE, Field, noise, profile, specks, step

_BRUSHED = 0.25  # share of the coils
_MARKED = 0.4  # share of the parts


def draw_plant_coil(rng: np.random.Generator) -> Coil:
    """A coil of a plant, which may have any class: one of several grades, some of them brushed."""
    grades = [kind.usual for kind in DEFECTS.values()]
    coil = draw_coil(rng, grades[rng.integers(len(grades))])
    coil = replace(coil, brightness=min(coil.brightness, rng.uniform(150, 200)))
    if rng.random() >= _BRUSHED:
        return coil
    return replace(coil, grain=0.5 * coil.grain, streaks=rng.uniform(0.02, 0.07))


def harmless_marks(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """A surface with what is no defect, on some parts: oil, dried water, or a roller's trace."""
    if rng.random() >= _MARKED:
        return surface
    draw = (_oil, _water, _trace)[rng.integers(3)]
    return surface * (1 + draw(coil, rng))


def _oil(coil: Coil, rng: np.random.Generator) -> Field:
    """Smooth films, a little darker or lighter, without an edge."""
    width = rng.uniform(10, 25)
    films = specks(rng, 2 / SIDE**2, width * rng.uniform(1, 3), width, coil.angle)
    film: Field = rng.choice([-1, 1]) * rng.uniform(0.05, 0.15) * np.minimum(films, 1.2)
    return film


def _water(coil: Coil, rng: np.random.Generator) -> Field:
    """Round drops that have dried: pale rings."""
    width = rng.uniform(6, 16)
    drops = specks(rng, 3 / SIDE**2, width * rng.uniform(1, 1.4), width, coil.angle)
    drops = drops + 0.06 * noise(rng, 6, 6)
    ring: Field = 0.03 * step(drops - 0.5, 0.1) + 0.08 * step(0.1 - np.abs(drops - 0.5), 0.1)
    return float(rng.choice([-1, 1])) * ring


def _trace(coil: Coil, rng: np.random.Generator) -> Field:
    """Soft parallel stripes along the strip."""
    return rng.uniform(0.02, 0.06) * profile(rng, rng.uniform(2, 6), coil.angle)
