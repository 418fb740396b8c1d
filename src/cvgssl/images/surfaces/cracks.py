"""Defects made of lines: crazing and scratches."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.surfaces.paths import nearest, walk
from cvgssl.images.surfaces.plate import Coil
from cvgssl.images.surfaces.texture import SIDE, Field, noise, specks, step


def crazing(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """A network of fine jagged cracks across the rolling direction, chipped out here and there."""
    count = int(rng.integers(35, 120))
    start = rng.uniform(-20, SIDE + 20, (count, 2))
    heading = coil.angle + np.pi / 2 + rng.normal(0, rng.uniform(0.1, 0.4), count)
    heading += np.pi * rng.integers(0, 2, count)
    turn = rng.uniform(0.35, 0.65, count)
    lengths = np.clip(rng.lognormal(3.3, 0.6, count), 10, 110).astype(np.int64)
    found = nearest(walk(start, heading, turn, 0.0, rng, int(lengths.max())), lengths)
    cells = noise(rng, 3, 6, coil.angle) + 0.4 * noise(rng, 1.2, 1.2)
    dark = 0.45 * step(noise(rng, 20, 20) + 0.3, 1.0) * step(0.12 - np.abs(cells), 0.15)
    if found is not None:
        width = rng.uniform(0.1, 0.8, count)[found.curve] + 0.5 * noise(rng, 1.5, 1.5)
        strength = rng.uniform(0.4, 1.0, count)[found.curve] * step(noise(rng, 5, 5) + 1, 0.8)
        dark = np.maximum(dark, strength * step(width - found.distance, 1.0))
    chips = specks(rng, rng.uniform(0, 6) / SIDE**2, 3.0, 1.8, coil.angle + rng.normal(0, 0.5))
    dark = np.maximum(dark, step(chips * (1 + 0.7 * noise(rng, 2, 1)) - 0.5, 0.3))
    depth = max(rng.uniform(0.4, 0.7), min(4.5 * coil.roughness, 0.75))
    edge = np.maximum(np.roll(dark, 2, axis=0) - dark, 0)  # a crack's far edge catches the light
    polarity = -1.0 if rng.random() < 0.95 else 0.9
    return surface * (1 + polarity * depth * dark + rng.uniform(0, 0.3) * depth * edge)


def scratches(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """A few bundles of long thin lines, bright where the oxide is torn off."""
    calm = rng.uniform(0.3, 1.0)
    surface = 1 + calm * (surface - 1)
    light = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.integers(1, 4))):
        light = np.maximum(light, _bundle(coil, rng))
    return surface * (1 + _gain(coil, rng) * light)


def _gain(coil: Coil, rng: np.random.Generator) -> float:
    """How much brighter a scratch is; on bright steel some scratches are dark."""
    if coil.brightness > 150 and rng.random() < 0.4:
        return -rng.uniform(0.25, 0.5)
    return float(rng.uniform(0.7, 2.2))


def _bundle(coil: Coil, rng: np.random.Generator) -> Field:
    """Parallel scratches that one edge or a few grains made together, 0..1."""
    count = int(rng.choice([1, 1, 2, 3, 5]))
    heading = coil.angle + rng.normal(0, 0.05)
    if rng.random() < 0.15:
        heading += rng.uniform(-1.6, 1.6)
    lengths = _lengths(rng, count)
    middle = rng.uniform(20, SIDE - 20, 2)
    normal = np.array([-np.sin(heading), np.cos(heading)])
    ahead = np.array([np.cos(heading), np.sin(heading)])
    shift = rng.normal(0, 1.5 + 2.5 * count, count)[:, None] * normal
    slip = (rng.normal(0, 12, count) - lengths / 2)[:, None] * ahead
    start = middle + shift + slip
    headings = heading + rng.normal(0, 0.008, count)
    drift = rng.normal(0, 0.0004)
    turn = np.full(count, rng.uniform(0.0, 0.01))
    found = nearest(walk(start, headings, turn, drift, rng, int(lengths.max())), lengths)
    if found is None:
        return np.zeros((SIDE, SIDE))
    broad = rng.random(count) < 0.15
    width = np.where(broad, rng.uniform(3, 7, count), rng.uniform(0.4, 1.5, count))[found.curve]
    rope = _along_curve(noise(rng, 5, 3), found.along, found.across)
    gaps = _along_curve(noise(rng, 12, 40), found.along, found.across)
    strength = rng.uniform(0.4, 1.0, count)[found.curve]
    strength = (
        strength * step(gaps + rng.uniform(0.2, 2.0), 0.5) * np.clip(0.75 + 0.25 * rope, 0, 1)
    )
    ends = np.clip(np.minimum(found.along, lengths[found.curve] - found.along) / 15, 0, 1)
    return strength * ends * step(width - found.distance, 0.8)


def _lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    long = rng.random() < 0.6
    low, high = (150, 320) if long else (30, 110)
    return rng.integers(low, high, count)


def _along_curve(field: Field, along: Field, across: Field) -> Field:
    """The field's values in the coordinates of the curves."""
    rows = np.rint(along).astype(np.int64) % SIDE
    columns = np.rint(4 * across).astype(np.int64) % SIDE
    return field[rows, columns]
