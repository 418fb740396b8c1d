"""Defects made of dark areas: inclusion and patches."""

import numpy as np

from cvgssl.images.surfaces.paths import nearest, walk
from cvgssl.images.surfaces.plate import Coil
from cvgssl.images.surfaces.texture import SIDE, Field, across_coordinate, noise, specks, step


def inclusion(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """Foreign matter drawn out along the rolling direction: lens-shaped blots and stripes."""
    calm = rng.uniform(0.3, 1.0)
    surface = 1 + calm * (surface - 1)
    ragged = noise(rng, 6, 0.8, coil.angle)
    dark = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.integers(1, 4))):
        dark = np.maximum(dark, _lenses(coil, rng, ragged))
    if rng.random() < 0.4:
        dark = np.maximum(dark, _stripe(coil, rng, ragged))
    depth = max(rng.uniform(0.18, 0.5), min(3.0 * calm * coil.roughness, 0.5))
    dark *= np.clip(0.8 + 0.25 * noise(rng, 10, 3, coil.angle), 0, 1)
    polarity = -1.0 if rng.random() < 0.95 else 0.8
    return surface * (1 + polarity * depth * dark)


def _lenses(coil: Coil, rng: np.random.Generator, ragged: Field) -> Field:
    """Blots of one size strung along one line of rolling, 0..1."""
    width = rng.uniform(0.8, 3.0)
    length = width * rng.uniform(4, 9)
    spread = rng.uniform(4, 25)
    line = across_coordinate(coil.angle) - rng.uniform(-0.4, 0.4) * SIDE
    chance = np.exp(-0.5 * (line / spread) ** 2)
    count = 1 + rng.gamma(2.0, 40 / length)
    bumps = specks(rng, count * chance / chance.sum(), length, width, coil.angle)
    return step(bumps * (1 + 0.35 * ragged) - rng.uniform(0.3, 0.5), rng.uniform(0.15, 0.3))


def _stripe(coil: Coil, rng: np.random.Generator, ragged: Field) -> Field:
    """One long stripe that swells and thins out, 0..1."""
    length = int(rng.integers(60, 260))
    start = np.array([[rng.uniform(-60, SIDE - 40), rng.uniform(20, SIDE - 20)]])
    turn = np.array([0.03])
    points = walk(start, np.array([coil.angle]), turn, 0.0, rng, length)
    found = nearest(points, np.array([length]))
    if found is None:
        return np.zeros((SIDE, SIDE))
    taper = np.clip(np.minimum(found.along, length - found.along) / 25, 0, 1)
    swell = noise(rng, 15, 60, coil.angle) + 0.8 * ragged
    width = rng.uniform(1.5, 6) * taper * np.clip(1 + 0.35 * swell, 0.2, None)
    return step(width - found.distance, rng.uniform(0.8, 2.5))


def patches(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """Large ragged areas, darker at their rim, with crumbs of scale about them."""
    shape = _islands(coil, rng) if rng.random() < 0.5 else _spots(coil, rng)
    shape += 0.15 * noise(rng, 5, 4, coil.angle) + 0.1 * noise(rng, 1, 0.8)
    area = step(shape, rng.uniform(0.25, 0.6))
    halo = step(shape + 0.5 + 0.4 * noise(rng, 8, 8), 1.0)
    rim = area * step(0.25 - np.abs(shape - 0.15), 0.25)
    depth = max(rng.uniform(0.4, 0.75), min(3.5 * coil.roughness, 0.75))
    tone = (0.65 * area + 0.2 * rim) * (1 + 0.12 * noise(rng, 6, 5)) + 0.15 * halo
    if rng.random() < 0.6:
        crumbs = specks(rng, rng.uniform(0, 60) * _clump(rng) / SIDE**2, 1.4, 1.1, coil.angle)
        surface = surface * (1 - 0.7 * step(crumbs * (1 + 0.5 * noise(rng, 1, 1)) - 0.5, 0.4))
    polarity = 0.7 if coil.brightness < 140 and rng.random() < 0.2 else -1.0
    return surface * np.clip(1 + polarity * depth * tone, 0.05, None)


def _islands(coil: Coil, rng: np.random.Generator) -> Field:
    """A coastline: positive on 10 to 45 per cent of the picture."""
    width = rng.uniform(12, 22)
    land = noise(rng, width * rng.uniform(1, 2), width, coil.angle)
    level = np.quantile(land, 1 - rng.uniform(0.1, 0.45))
    return land - level


def _spots(coil: Coil, rng: np.random.Generator) -> Field:
    """Separate spots of similar size, positive inside."""
    width = rng.uniform(7, 14)
    spots = specks(rng, rng.uniform(2, 7) / SIDE**2, width * rng.uniform(1, 3), width, coil.angle)
    return 1.6 * (spots - min(0.5, 0.7 * float(spots.max())))


def _clump(rng: np.random.Generator) -> Field:
    """Relative density of things that come in clumps, mean about 1."""
    density: Field = np.exp(2 * noise(rng, 12, 10) - 2)
    return density
