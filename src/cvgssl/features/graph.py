"""The graph of nearest neighbours over all pictures.

Shape letters: N pictures, D features, G neighbours of each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

EXACT = 20_000  # pictures up to which all pairs are looked at
LOOKED_AT = 8000  # pictures at least that each is compared with otherwise
ROUNDS = 10  # of k-means
CHUNK, FOLD = 1024, 32

Floats = NDArray[np.floating[Any]]


def neighbour_graph(rows: Floats, neighbours: int) -> sparse.csr_array:
    """Symmetric edge weights, float64 [N, N], of those who are a nearest neighbour of the other.

    rows: float [N, D] of length 1. A weight is exp(-d_ij^2 / (s_i s_j)), s_i the distance to a
    middle neighbour (Zelnik-Manor & Perona 2004). Beyond 20,000 pictures neighbours are
    approximate: one in a hundred or fewer is missed.
    """
    count = len(rows)
    neighbours = min(neighbours, count - 1)
    if neighbours < 1:
        return sparse.csr_array((count, count))
    find = _exact if count <= EXACT else _approximate
    cosine, places = find(np.ascontiguousarray(rows, dtype=np.float32), neighbours)
    scale = local_scale(cosine)
    values = edge_weights(cosine, scale[:, None] * scale[places])
    at = np.repeat(np.arange(count), neighbours)
    one_way = sparse.csr_array((values.ravel(), (at, places.ravel())), shape=(count, count))
    return one_way.maximum(one_way.T).tocsr()


def local_scale(cosine: Floats) -> NDArray[np.float64]:
    """Distance to a middle neighbour [N] from cosines [N, G] to neighbours, nearest first."""
    middle = 2 - 2 * cosine[:, cosine.shape[1] // 2].astype(np.float64)
    scale: NDArray[np.float64] = np.sqrt(middle.clip(0)).clip(1e-6)
    return scale


def edge_weights(cosine: Floats, scales: Floats) -> NDArray[np.float64]:
    """exp(-distance^2 / scales), never quite 0, from cosines and products of scales [N, G]."""
    squared = np.clip(2 - 2 * cosine.astype(np.float64), 0, None)
    weights: NDArray[np.float64] = np.exp(-squared / scales).clip(1e-12)
    return weights


def _exact(
    rows: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    found = [
        nearest(rows[at : at + CHUNK], rows, neighbours, at) for at in range(0, len(rows), CHUNK)
    ]
    return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


def nearest(
    query: NDArray[Any], rows: NDArray[Any], neighbours: int, own: int | None = None
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Cosines [Q, G] and places [Q, G] in `rows`, nearest first; `own`: place of query 0 itself."""
    cosine = query @ rows.T
    if own is not None:
        at = np.arange(len(query))
        cosine[at, own + at] = -2
    places = _largest(cosine, neighbours)
    values = np.take_along_axis(cosine, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1)


def _largest(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Places [Q, count] of the largest of values [Q, N] in each row, in no order."""
    width = values.shape[1] // FOLD
    if width < 4 * count:
        return np.argpartition(-values, count - 1, axis=1)[:, :count]
    # the largest lie in the columns of the folded row with the largest maxima: most need no order
    columns = np.arange(FOLD * width).reshape(FOLD, width)
    folded = np.maximum.reduce([values[:, one[0] : one[-1] + 1] for one in columns])
    best = np.argpartition(folded, -count, axis=1)[:, -count:]
    few = np.moveaxis(columns[:, best], 0, 1).reshape(len(values), -1)
    rest = np.arange(FOLD * width, values.shape[1])
    few = np.concatenate([few, np.broadcast_to(rest, (len(values), len(rest)))], axis=1)
    found = np.argpartition(np.take_along_axis(values, few, axis=1), -count, axis=1)[:, -count:]
    return np.take_along_axis(few, found, axis=1)


def _approximate(
    rows: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Like `_exact`, but a row looks only at its own cell and the cells around that one.

    All rows of a cell look at the same others, so the work is in products of matrices.
    """
    centres = _centres(rows)
    cell = _cells(rows, centres)
    order, sizes = np.argsort(cell, kind="stable"), np.bincount(cell, minlength=len(centres))
    members = np.split(order, sizes.cumsum()[:-1])
    alike = centres @ centres.T
    np.fill_diagonal(alike, 2)  # a cell comes before its twins
    cosine = np.empty((len(rows), neighbours), dtype=np.float32)
    places = np.empty((len(rows), neighbours), dtype=np.intp)
    for own, around in enumerate(np.argsort(-alike, axis=1)):
        cells = np.searchsorted(sizes[around].cumsum(), LOOKED_AT + neighbours + 1) + 1
        others = np.concatenate([members[one] for one in around[:cells]])
        seen = rows[others]
        for at in range(0, sizes[own], CHUNK):
            mine = members[own][at : at + CHUNK]
            cosine[mine], found = nearest(rows[mine], seen, neighbours, at)
            places[mine] = others[found]
    return cosine, places


def _centres(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centres of cells [C, D]: spherical k-means (Dhillon & Modha 2001) of some of the rows."""
    count = int(2 * len(rows) ** 0.5)
    some = rows[np.random.default_rng(0).permutation(len(rows))[: 40 * count]]
    centres = some[:count]
    for _ in range(ROUNDS):
        mine = (np.ones(len(some), dtype=np.float32), (_cells(some, centres), np.arange(len(some))))
        sums = sparse.csr_array(mine, shape=(count, len(some))) @ some
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / length.clip(1e-12), centres)
    return centres


def _cells(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    """Place [N] of the nearest centre."""
    starts = range(0, len(rows), CHUNK)
    return np.concatenate([(rows[at : at + CHUNK] @ centres.T).argmax(axis=1) for at in starts])
