"""The sheet under the defect: what one coil's steel looks like, whatever its defect.

As in a mill, a defect comes more often on some steel than on other (`Usual`), but each comes on
any, so that brightness, grain and light hint at the class and never determine it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cvgssl.images.surfaces.texture import (
    SIDE,
    Field,
    across_coordinate,
    along_coordinate,
    noise,
    profile,
    specks,
    step,
)


@dataclass(frozen=True)
class Usual:
    """Ranges of brightness (gray level) and grain of most coils with some defect."""

    brightness: tuple[float, float]
    grain: tuple[float, float]


ANY = Usual(brightness=(55, 225), grain=(0.02, 0.14))
_UNUSUAL_SHARE = 0.25  # of the coils


@dataclass(frozen=True)
class Coil:
    """What pictures of one coil have in common.

    brightness: mean gray level, 0..255. angle: rolling direction, radians from the vertical.
    grain: standard deviation of the fine texture relative to brightness; grain_size: pixels;
    grain_stretch: how many times longer a grain is along `grain_angle` (radians) than across;
    mottle: share of coarser grain, 0..1.
    streaks, clouds, bands: relative strength of fine rolling streaks, of mottling, and of broad
    bands of light along the rolling direction. shade: loss of light towards one side, 0..1.
    blur: optical blur, pixels. sensor: noise of the camera, gray levels.
    """

    brightness: float
    angle: float
    grain: float
    grain_size: float
    grain_stretch: float
    grain_angle: float
    mottle: float
    streaks: float
    clouds: float
    bands: float
    shade: float
    blur: float
    sensor: float

    @property
    def roughness(self) -> float:
        """Standard deviation of the fine texture that a defect must stand out from."""
        return float(np.hypot(self.grain, self.streaks))


def draw_coil(rng: np.random.Generator, usual: Usual) -> Coil:
    """A random coil, of the usual kind in three cases of four."""
    bounds = ANY if rng.random() < _UNUSUAL_SHARE else usual
    angle = rng.normal(0, 0.04)
    oblique = rng.random() < 0.4
    return Coil(
        brightness=_log_uniform(rng, *bounds.brightness),
        angle=angle,
        grain=_log_uniform(rng, *bounds.grain),
        grain_size=rng.uniform(0.5, 0.9),
        grain_stretch=_log_uniform(rng, 1, 2.2),
        grain_angle=angle + (rng.uniform(-1.6, 1.6) if oblique else rng.normal(0, 0.1)),
        mottle=rng.uniform(0.05, 0.35),
        streaks=rng.uniform(0, 0.03),
        clouds=rng.uniform(0.01, 0.08),
        bands=rng.uniform(0.0, 0.14),
        shade=rng.uniform(0.0, 0.5),
        blur=rng.uniform(0.0, 0.7),
        sensor=rng.uniform(0.5, 3.0),
    )


def ground(coil: Coil, rng: np.random.Generator) -> Field:
    """Reflectance of a flawless sheet of this coil, about 1."""
    size, stretch = coil.grain_size, coil.grain_stretch
    fine = noise(rng, size * stretch, size, coil.grain_angle)
    coarse = noise(rng, 2.5 * size * stretch, 2.5 * size, coil.grain_angle)
    texture = coil.grain * (np.sqrt(1 - coil.mottle) * fine + np.sqrt(coil.mottle) * coarse)
    texture += coil.streaks * noise(rng, 40, 0.8, coil.angle)
    cloud = rng.uniform(8, 30)
    texture += coil.clouds * noise(rng, cloud * rng.uniform(1, 2.5), cloud, coil.angle)
    if rng.random() < 0.2:
        texture += _drawn_lines(coil, rng)
    if rng.random() < 0.2:
        texture += _chips(coil, rng)
    reflectance: Field = 1 + texture
    return reflectance


def _drawn_lines(coil: Coil, rng: np.random.Generator) -> Field:
    """Faint lines that guides draw along the strip; no defect."""
    lines = specks(rng, 4 / SIDE**2, 120, rng.uniform(0.6, 1.2), coil.angle)
    return float(rng.choice([-0.12, -0.06, 0.06])) * np.minimum(lines, 1)


def _chips(coil: Coil, rng: np.random.Generator) -> Field:
    """A few dark crumbs of dirt."""
    bumps = specks(rng, rng.uniform(2, 6) / SIDE**2, 2.2, 1.3, coil.angle + rng.normal(0, 0.5))
    return -0.45 * step(bumps * (1 + 0.4 * noise(rng, 1, 1)) - 0.5, 0.3)


def broad_bands(coil: Coil, rng: np.random.Generator) -> Field:
    """Relative light of broad bands along the rolling direction, about 1."""
    return 1 + coil.bands * profile(rng, rng.uniform(8, 25), coil.angle)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def expose(surface: Field, coil: Coil, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The uint8 picture [H, W] of a reflectance [H, W] of about 1.

    Adds uneven light, blur, camera noise and clipping.
    """
    brightness = coil.brightness * np.exp(rng.normal(0, 0.12))
    picture = brightness * surface * _light(coil, rng) * broad_bands(coil, rng)
    along = coil.blur + (rng.uniform(0.4, 1.2) if rng.random() < 0.15 else 0.0)  # strip in motion
    picture = gaussian_filter(picture, (along, coil.blur), mode="nearest")
    picture += coil.sensor * noise(rng, 0.3, 0.3)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _light(coil: Coil, rng: np.random.Generator) -> Field:
    """Uneven lighting: a slope to one side and darker corners, 0..1."""
    toward = coil.angle + rng.choice([0, np.pi, np.pi / 2], p=[0.4, 0.4, 0.2])
    slope = across_coordinate(toward) / SIDE + 0.5
    shade = coil.shade * rng.uniform(0.3, 1.3) * np.clip(slope, 0, 1.2) ** rng.uniform(1, 3)
    radius = (across_coordinate(0) ** 2 + along_coordinate(0) ** 2) / (SIDE**2 / 2)
    return np.clip(1 - shade, 0.1, 1) * (1 - rng.uniform(0, 0.25) * radius)
