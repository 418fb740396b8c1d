"""Defects made of many small marks: pitted surface and rolled-in scale."""

import numpy as np

from cvgssl.images.surfaces.plate import Coil
from cvgssl.images.surfaces.texture import SIDE, Field, across_coordinate, noise, specks, step


def pitted_surface(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """Small round dark pits, strewn evenly or over a band, some grown together."""
    where = _spread(coil, rng)
    size = rng.uniform(0.6, 1.3)
    stretch = rng.uniform(1.0, 1.6)
    density = rng.uniform(0.05, 0.2) / (2 * np.pi * size**2)
    bumps = specks(rng, density * where, size * stretch, size, coil.angle)
    dark = step(bumps - rng.uniform(0.45, 0.65), 0.45)
    if rng.random() < 0.4:
        large = size * rng.uniform(1.5, 2.4)
        few = specks(rng, 0.25 * density * where**2, large, large, coil.angle)
        dark = np.maximum(dark, step(few * (1 + 0.3 * noise(rng, 1.5, 1.5)) - 0.5, 0.4))
    if rng.random() < 0.25:
        dark = np.maximum(dark, 0.8 * _stain(coil, rng))
    depth = max(rng.uniform(0.3, 0.5), min(5.0 * coil.roughness, 0.65))
    dark *= np.clip(0.8 + 0.25 * noise(rng, 5, 5), 0, 1)
    return surface * (1 - depth * dark)


def rolled_in_scale(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """Ragged flakes lying across the rolling direction in swarms, each with a bright edge."""
    flow = coil.angle + np.pi / 2 + rng.normal(0, 0.2)
    surface = surface + rng.uniform(0.01, 0.05) * noise(rng, 8, 0.8, flow + rng.normal(0, 0.2))
    where = _spread(coil, rng) * np.exp(1.3 * noise(rng, 10, 10) - 0.8)
    ragged = 1 + 0.4 * noise(rng, 1.5, 0.7, flow)
    relief = np.zeros((SIDE, SIDE))
    for _ in range(2):  # two sizes
        thick = rng.uniform(0.9, 1.8)
        wide = thick * rng.uniform(1.6, 3.0)
        density = rng.uniform(0.02, 0.06) / (2 * np.pi * thick * wide)
        bumps = specks(rng, density * where, wide, thick, flow)
        relief = np.maximum(relief, step(bumps * ragged - 0.4, 0.4))
    depth = max(rng.uniform(0.35, 0.55), min(5.0 * coil.roughness, 0.65))
    sign = rng.choice([-2, 2])
    edge = np.maximum(np.roll(relief, sign, axis=0) - relief, 0)
    relief *= np.clip(0.8 + 0.3 * noise(rng, 6, 6), 0, 1)
    smear = noise(rng, 10, 16, coil.angle) * rng.uniform(0, 0.06)
    return surface * (1 - depth * relief + rng.uniform(0.3, 0.9) * depth * edge + smear)


def _spread(coil: Coil, rng: np.random.Generator) -> Field:
    """Relative density of marks: even, along a band of rolling, or in swarms; 0..about 2."""
    kind = rng.choice(["even", "band", "swarms"])
    if kind == "even":
        return np.ones((SIDE, SIDE))
    if kind == "swarms":
        return 0.1 + 1.5 * step(noise(rng, 35, 20, coil.angle) + 0.3, 1.2)
    line = across_coordinate(coil.angle) - rng.uniform(-0.35, 0.35) * SIDE
    band: Field = 0.1 + 1.6 * np.exp(-0.5 * (line / rng.uniform(12, 40)) ** 2)
    return band


def _stain(coil: Coil, rng: np.random.Generator) -> Field:
    """A corroded area at a side of the picture with a dark coastline, 0..1."""
    line = across_coordinate(coil.angle + rng.choice([0, np.pi])) / SIDE - rng.uniform(0.25, 0.5)
    shore = line + 0.06 * noise(rng, 14, 14) + 0.015 * noise(rng, 2, 2)
    return 0.5 * step(shore, 0.02) + 0.5 * step(0.03 - np.abs(shore), 0.02)
