"""Random fields and marks, the stuff that steel surfaces and their defects are drawn with.

Everything is float64 of shape [SIDE, SIDE], row 0 at the top. Lengths are pixels. The rolling
direction of an upright plate is vertical; an `angle` in radians turns it from the vertical.
float64 keeps pictures the same byte for byte on processors whose vector instructions round the
last bit differently: a pixel changes only if its value is within 1e-13 of a rounding border.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

SIDE = 200
_CANVAS = 256  # fields wrap around at the canvas, so a picture never shows both of its ends

Field = NDArray[np.float64]

_FREQ_Y = fft.fftfreq(_CANVAS)[:, None]
_FREQ_X = fft.rfftfreq(_CANVAS)[None, :]
_ROWS, _COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float64)


def noise(rng: np.random.Generator, along: float, across: float, angle: float = 0.0) -> Field:
    """Gaussian random field with mean 0 and variance 1.

    It is white noise smoothed by a Gaussian of standard deviation `along` in the direction
    `angle` and `across` at right angles to it.
    """
    gain = _gaussian(along, across, angle)
    spectrum = rng.standard_normal((*gain.shape, 2)).view(np.complex128)[..., 0]
    spectrum *= gain
    # Each frequency with 0 < fx < 1/2 represents itself and its mirror image.
    energy = 2 * (gain**2).sum() - (gain[:, 0] ** 2).sum() - (gain[:, -1] ** 2).sum()
    scale = _CANVAS**2 / np.sqrt(2 * energy)
    field: Field = _to_field(spectrum) * scale
    return field


def specks(
    rng: np.random.Generator, density: Field | float, along: float, across: float, angle: float
) -> Field:
    """Gaussian bumps at random places; bumps that touch add up.

    density: bumps per pixel. along, across: standard deviations of a bump. Peaks are in 0.6..1.4.
    """
    places = np.zeros((_CANVAS, _CANVAS))
    hit = rng.random((SIDE, SIDE)) < density
    places[:SIDE, :SIDE] = hit * rng.uniform(0.6, 1.4, (SIDE, SIDE))
    peak = 2 * np.pi * along * across
    field: Field = _to_field(fft.rfft2(places) * _gaussian(along, across, angle)) * peak
    return field


def profile(rng: np.random.Generator, length: float, angle: float = 0.0) -> Field:
    """A random field that changes only across the direction `angle` (bands of a rolled sheet)."""
    knots = noise(rng, length, length)[SIDE // 2]
    place = across_coordinate(angle) + SIDE / 2
    band: Field = np.interp(place, np.arange(SIDE), knots)
    return band


def across_coordinate(angle: float) -> Field:
    """Signed distance from the line through the centre in the direction `angle`, pixels."""
    y, x = _ROWS - SIDE / 2, _COLUMNS - SIDE / 2
    distance: Field = x * np.cos(angle) - y * np.sin(angle)
    return distance


def along_coordinate(angle: float) -> Field:
    """Distance from the centre in the direction `angle`, pixels."""
    return across_coordinate(angle - np.pi / 2)


def step(value: Field, softness: float) -> Field:
    """Smooth step from 0 to 1 as `value` goes from -softness to +softness."""
    t: Field = np.clip(0.5 + value / (2 * softness), 0, 1)
    return t * t * (3 - 2 * t)


def _gaussian(along: float, across: float, angle: float) -> Field:
    """Frequency response of a Gaussian filter, float64 [_CANVAS, _CANVAS // 2 + 1]."""
    if angle == 0 or along == across:
        column = np.exp(-2 * np.pi**2 * (along * _FREQ_Y) ** 2)
        row = np.exp(-2 * np.pi**2 * (across * _FREQ_X) ** 2)
        return column * row
    u = _FREQ_Y * np.cos(angle) + _FREQ_X * np.sin(angle)
    v = _FREQ_X * np.cos(angle) - _FREQ_Y * np.sin(angle)
    response: Field = np.exp(-2 * np.pi**2 * ((along * u) ** 2 + (across * v) ** 2))
    return response


def _to_field(spectrum: NDArray[np.float64] | NDArray[np.complex128]) -> Field:
    canvas: Field = fft.irfft2(spectrum, s=(_CANVAS, _CANVAS))
    return canvas[:SIDE, :SIDE]
