"""Pictures that are nearly the same: perceptual hashes first, then a look at the pixels.

Two pictures are near duplicates when their perceptual hashes (DCT, 64 bits) differ in at most 16
bits, their detail correlates with at least 0.4 and their texture with at least 0.6, each at the
best shift of up to 1/8 of a side; `likeness` says what detail and texture are.

The hash is not enough on rolled steel: at 16 bits it pairs unlike textures and, at the 4 to 8
bits usual for photographs, it misses the same spot cut out a little to the side. Correlation
is not enough either: uneven light makes unlike pictures correlate with 0.98, and so does the edge
of a strip; hence detail, then texture. Detail only saves work: the camera's noise and bands of
light lower it, where a part has little else, and texture decides.
On NEU-CLS (1.6 million pairs) 11 pairs are called twins, all of the same spot on the same steel;
on X-SDD, whose marks of one roll repeat on other steel, none; on GC10-DET at 224 pixels (2.6
million) one, which is wrong: two strips whose edge has the same notch. 745 pairs there have as
much detail in common, mostly strips with the edge at the same place. In generated plants with two
exposures of each part 75 to 90 % of the parts are found (17 to 27 % if detail must correlate with
0.8), and no wrong pair.

Found again, on every third picture of the three sets: all copies saved as JPEG of quality 50 or
better, at half size, blurred or with other contrast; 88 to 100 % of exposures at half or 1.4 times
the light or gamma 2, with noise; 99 to 100 % of the same part cut out 2 % of the side away, 68 to
76 % at 4 %, 9 to 19 % at 6 %; with 5 % of both sides cropped away 61 to 89 %. Mirrored and turned
copies are not found.

Shape letters: N pictures, P pairs, S side of a thumbnail.
"""

from collections.abc import Iterator

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images.likeness import (
    Gray,
    GrayValues,
    Pairs,
    detail_correlations,
    texture_correlations,
)

LARGEST_DISTANCE = 16  # bits of 64
LEAST_DETAIL = 0.4  # correlation
LEAST_TEXTURE = 0.6
NEAREST = 20  # candidates compared per picture, or more in small sets, so that uniform sets end

_CANDIDATES = 30_000  # in all, where that allows more per picture; 0.1 ms each
_BLOCK_CELLS = 4_000_000  # distances held at once, 8 bytes each


def perceptual_hash(picture: Gray) -> int:
    """64-bit DCT hash of a uint8 [H, W] or [H, W, 3] picture."""
    bits = imagehash.phash(Image.fromarray(picture)).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    hashes: NDArray[np.uint64],
    thumbnails: Gray,
) -> tuple[Pairs, GrayValues]:
    """Near duplicates between pictures `rows` and `columns` of all N, best first.

    hashes: [N]; thumbnails: [N, S, S]. Give the same indices twice for pairs within a set; each
    pair then comes once. Returns pairs [P, 2] and the correlations of their texture [P]. Of every
    row at most NEAREST candidates (30,000 / rows, if that is more) are compared, those with the
    nearest hashes.
    """
    within = rows is columns
    blocks = list(_candidates(hashes[rows], hashes[columns], within))
    places = np.concatenate([np.empty((0, 2), np.intp), *blocks])
    pairs = np.stack((rows[places[:, 0]], columns[places[:, 1]]), axis=1)
    pairs = pairs[detail_correlations(pairs, thumbnails) >= LEAST_DETAIL]
    score = texture_correlations(pairs, thumbnails)
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= LEAST_TEXTURE]
    return pairs[order], score[order]


def _candidates(
    rows: NDArray[np.uint64], columns: NDArray[np.uint64], within: bool
) -> Iterator[Pairs]:
    """Pairs [P, 2] of positions whose hashes are near, block by block."""
    most = max(NEAREST, _CANDIDATES // max(len(rows), 1))
    step = max(_BLOCK_CELLS // max(len(columns), 1), 1)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        distances = np.bitwise_count(block[:, None] ^ columns[None, :])
        near = distances <= LARGEST_DISTANCE
        if within:  # each pair once, none with itself
            near &= np.arange(len(columns)) > np.arange(start, start + len(block))[:, None]
        for row in np.flatnonzero(near.sum(axis=1) > most):
            far = np.flatnonzero(near[row])
            order = np.argsort(distances[row, far], kind="stable")
            near[row, far[order[most:]]] = False
        i, j = np.nonzero(near)
        yield np.stack((i + start, j), axis=1)
