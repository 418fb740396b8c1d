"""The graph of nearest neighbours over all pictures.

Shape letters: N pictures, D features, G neighbours of each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvgssl.runtime.errors import UserError

EXACT = 20_000  # pictures up to which all pairs are looked at
CHUNK = 1024

Floats = NDArray[np.floating[Any]]


def neighbour_graph(rows: Floats, neighbours: int) -> sparse.csr_array:
    """Symmetric edge weights, float64 [N, N], of those who are a nearest neighbour of the other.

    rows: float [N, D] of length 1. A weight is exp(-d_ij^2 / (s_i s_j)), s_i the distance to a
    middle neighbour (Zelnik-Manor & Perona 2004). Beyond 20,000 pictures neighbours are
    approximate (faiss, extra `large`); without it UserError says so.
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
    places = np.argpartition(-cosine, neighbours - 1, axis=1)[:, :neighbours]
    values = np.take_along_axis(cosine, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1)


def _approximate(
    rows: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"a graph over {len(rows)} pictures needs faiss: pip install 'cvgssl[large]'"
        ) from error
    count, width = rows.shape
    cells = int(2 * count**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter = 0, 10
    index.train(rows[np.random.default_rng(0).permutation(count)[: 40 * cells]])
    index.add(rows)
    index.nprobe = 12
    cosine, places = index.search(rows, neighbours + 1)
    return _without_self(cosine, places)


def _without_self(
    cosine: NDArray[np.float32], places: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Each row's own entry taken out (the last one where it is not there); gaps are filled."""
    count, width = places.shape
    own = places == np.arange(count)[:, None]
    own[~own.any(axis=1), -1] = True
    keep = ~own
    cosine, places = cosine[keep].reshape(count, width - 1), places[keep].reshape(count, width - 1)
    gap = places < 0  # a cell with too few pictures: the nearest one again
    return np.where(gap, cosine[:, :1], cosine), np.where(gap, places[:, :1], places)
