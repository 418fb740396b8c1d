"""Whether two thumbnails show the same thing: correlations of what is left of them.

Two questions, the second asked only of pairs that pass the first:

- Detail: do the pictures agree once uneven light is taken off (a Gaussian of 1/8 of the side)?
- Texture: do they agree everywhere, or only in what many parts share? Different parts of one line
  have the edge of the strip, the lamps' reflections and punched holes at the same places, and
  these decide the correlation of the detail. So lines that run straight across or down are taken
  off, and every region is divided by its own strength: a strong edge counts for no more than
  fine grain on as large an area. Places at which at least SHARED pictures of the pairs are alike
  (leading principal components) do not count. Where nearly the whole picture is such a place,
  the pictures show few parts many times, and all of it counts.

Shape letters: N pictures, P pairs, S side of a thumbnail.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

SIDE = 64
SHARED = 20  # pictures that must share a structure before it says nothing about one part

_SHIFT = SIDE // 8
_BLOCK = 512  # pictures or pairs at a time
_SAMPLE = 500  # pictures from which the shared structures are taken
_MOST_SHARED = 0.3  # of the textures' energy at a place that counts as a part's own
_LEAST_OWN = 0.25  # of the area; less, and pictures are alike all over, as of few parts
_FAINT = 0.1  # gray levels of a smoothed thumbnail that count for little beside any texture
_LEAST_AREA = 0.25  # root of the share of the area that has texture; less is no evidence

Gray = NDArray[np.uint8]
GrayValues = NDArray[np.float32]
Halves = NDArray[np.float16]
Pairs = NDArray[np.intp]


def thumbnail(picture: Gray) -> Gray:
    """uint8 [S, S], area averages of a uint8 [H, W] or [H, W, 3] picture in gray."""
    gray = Image.fromarray(picture).convert("L")
    small: Gray = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX))
    return small


def detail_correlations(pairs: Pairs, thumbnails: Gray) -> GrayValues:
    """Correlation of detail at the best shift of up to 1/8 of a side, [P], -1..1; 0 when flat.

    pairs: [P, 2], rows of thumbnails [N, S, S].
    """
    used, places = _used(pairs)
    return _at_best_shift(_of_each(_detail, thumbnails[used]), places)


def texture_correlations(pairs: Pairs, thumbnails: Gray) -> GrayValues:
    """As `detail_correlations`, of texture at the places that not many pictures share."""
    used, places = _used(pairs)
    textures = _of_each(_texture, thumbnails[used])
    own = _own_places(textures)
    if not own.all():
        textures = _of_each(lambda block: _unit(block * own), textures)
    return _at_best_shift(textures, places)


def _own_places(textures: Halves) -> NDArray[np.bool_]:
    """Where textures [N, S, S] are not structures that at least SHARED of them share, [S, S].

    A structure that n textures share with correlation c has an eigenvalue of about n*c; grain
    that nothing shares stays below 10. All places where structures cover nearly the whole.
    """
    everywhere = np.ones((SIDE, SIDE), np.bool_)
    if len(textures) < SHARED:
        return everywhere
    rows = np.linspace(0, len(textures) - 1, min(len(textures), _SAMPLE)).astype(np.intp)
    sample = textures[rows].reshape(len(rows), -1).astype(np.float32)
    strengths, weights = np.linalg.eigh(sample @ sample.T)
    strong = weights[:, strengths >= SHARED]
    shared: GrayValues = strong @ (strong.T @ sample)
    own: NDArray[np.bool_] = _strength(shared) < _MOST_SHARED * _strength(sample)
    return own if own.mean() >= _LEAST_OWN else everywhere


def _strength(values: GrayValues) -> GrayValues:
    """Mean square of values [N, S*S] around each place, [S, S]."""
    squares = np.mean(np.square(values), axis=0, keepdims=True, dtype=np.float32)
    strength: GrayValues = _smooth(squares.reshape(1, SIDE, SIDE), SIDE / 16)[0]
    return strength


def _used(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """The pictures [M] that occur in pairs, and the pairs as positions among them, [P, 2]."""
    used, places = np.unique(pairs, return_inverse=True)
    return used, places.reshape(pairs.shape)


def _of_each(function: Callable[[Any], GrayValues], items: NDArray[Any]) -> Halves:
    """function of every item [N, S, S], block by block; half precision, as sets are large."""
    values = np.empty(items.shape, np.float16)
    for start in range(0, len(items), _BLOCK):
        values[start : start + _BLOCK] = function(items[start : start + _BLOCK])
    return values


def _at_best_shift(values: Halves, places: Pairs) -> GrayValues:
    """Correlation of pairs of values [M, S, S] of norm 1 at the best shift, [P]."""
    best = np.empty(len(places), np.float32)
    for start in range(0, len(places), _BLOCK):
        used, pairs = _used(places[start : start + _BLOCK])
        spectra = fft.rfft2(values[used].astype(np.float32))
        products = spectra[pairs[:, 0]].conj() * spectra[pairs[:, 1]]
        surface = fft.irfft2(products, s=(SIDE, SIDE))
        surface = np.roll(surface, (_SHIFT, _SHIFT), axis=(1, 2))
        window = surface[:, : 2 * _SHIFT + 1, : 2 * _SHIFT + 1]
        best[start : start + _BLOCK] = window.max(axis=(1, 2))
    return best


def _detail(thumbnails: Gray) -> GrayValues:
    """Thumbnails without uneven light, mean 0 and norm 1 (0 for flat ones), [N, S, S]."""
    pixels = thumbnails.astype(np.float32)
    pixels -= _smooth(pixels, SIDE / 8)
    return _unit(pixels)


def _texture(thumbnails: Gray) -> GrayValues:
    """Texture that counts the same in every region, mean 0 and norm 1 (0 for flat ones)."""
    values = _smooth(thumbnails.astype(np.float32), SIDE / 64)  # shifts by parts of a pixel
    values -= _smooth(values, SIDE / 16)
    for axis in (1, 2):
        values -= ndimage.uniform_filter1d(values, SIDE // 2 + 1, axis=axis, mode="nearest")
    values /= np.sqrt(_smooth(values * values, SIDE * 3 / 64)) + _FAINT
    return _unit(values, _LEAST_AREA * SIDE)


def _smooth(values: GrayValues, sigma: float) -> GrayValues:
    smoothed: GrayValues = ndimage.gaussian_filter(
        values, (0, sigma, sigma), mode="nearest", truncate=2
    )
    return smoothed


def _unit(values: NDArray[np.floating], least: float = 1e-3) -> GrayValues:
    """Mean 0 and norm 1; 0 for those with a norm below `least`."""
    values = values.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    norm = np.linalg.norm(values, axis=(1, 2), keepdims=True)
    return np.where(norm > least, values / np.maximum(norm, least), 0).astype(np.float32)
