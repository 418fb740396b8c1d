"""The six kinds of defect, drawn onto a plate."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.surfaces.paths import nearest_curve, walk
from cvgssl.images.surfaces.plate import Coil
from cvgssl.images.surfaces.texture import SIDE, Field, across_coordinate, noise, specks, step


def crazing(surface: Field, coil: Coil, rng: np.random.Generator) -> Field:
    """A network of fine jagged cracks across the rolling direction, chipped out here and there."""
    count = int(rng.integers(35, 120))
    start = rng.uniform(-20, SIDE + 20, (count, 2))
    heading = coil.angle + np.pi / 2 + rng.normal(0, rng.uniform(0.1, 0.4), count)
    heading += np.pi * rng.integers(0, 2, count)
    turn = rng.uniform(0.35, 0.65, count)
    lengths = np.clip(rng.lognormal(3.3, 0.6, count), 10, 110).astype(np.int64)
    closest = nearest_curve(walk(start, heading, turn, 0.0, rng, int(lengths.max())), lengths)
    cells = noise(rng, 3, 6, coil.angle) + 0.4 * noise(rng, 1.2, 1.2)
    dark = 0.45 * step(noise(rng, 20, 20) + 0.3, 1.0) * step(0.12 - np.abs(cells), 0.15)
    if closest is not None:
        width = rng.uniform(0.1, 0.8, count)[closest.curve] + 0.5 * noise(rng, 1.5, 1.5)
        strength = rng.uniform(0.4, 1.0, count)[closest.curve] * step(noise(rng, 5, 5) + 1, 0.8)
        dark = np.maximum(dark, strength * step(width - closest.distance, 1.0))
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
    closest = nearest_curve(walk(start, headings, turn, drift, rng, int(lengths.max())), lengths)
    if closest is None:
        return np.zeros((SIDE, SIDE))
    broad = rng.random(count) < 0.15
    width = np.where(broad, rng.uniform(3, 7, count), rng.uniform(0.4, 1.5, count))[closest.curve]
    rope = _along_curve(noise(rng, 5, 3), closest.along, closest.across)
    gaps = _along_curve(noise(rng, 12, 40), closest.along, closest.across)
    strength = rng.uniform(0.4, 1.0, count)[closest.curve]
    strength = (
        strength * step(gaps + rng.uniform(0.2, 2.0), 0.5) * np.clip(0.75 + 0.25 * rope, 0, 1)
    )
    ends = np.clip(np.minimum(closest.along, lengths[closest.curve] - closest.along) / 15, 0, 1)
    return strength * ends * step(width - closest.distance, 0.8)


def _lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    long = rng.random() < 0.6
    low, high = (150, 320) if long else (30, 110)
    return rng.integers(low, high, count)


def _along_curve(field: Field, along: Field, across: Field) -> Field:
    """The field's values in the coordinates of the curves."""
    rows = np.rint(along).astype(np.int64) % SIDE
    columns = np.rint(4 * across).astype(np.int64) % SIDE
    return field[rows, columns]


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
    closest = nearest_curve(points, np.array([length]))
    if closest is None:
        return np.zeros((SIDE, SIDE))
    taper = np.clip(np.minimum(closest.along, length - closest.along) / 25, 0, 1)
    swell = noise(rng, 15, 60, coil.angle) + 0.8 * ragged
    width = rng.uniform(1.5, 6) * taper * np.clip(1 + 0.35 * swell, 0.2, None)
    return step(width - closest.distance, rng.uniform(0.8, 2.5))


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
