"""From reflectance to the picture that a camera takes of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cvgssl.images.surfaces.plate import Coil, bands
from cvgssl.images.surfaces.texture import SIDE, Field, across_coordinate, along_coordinate, noise


def expose(surface: Field, coil: Coil, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The 8-bit picture of a reflectance of about 1: uneven light, blur, camera noise, clipping."""
    brightness = coil.brightness * np.exp(rng.normal(0, 0.12))
    picture = brightness * surface * _light(coil, rng) * bands(coil, rng)
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
