"""The graph of nearest neighbours of many pictures.

Shape letters: N pictures, D features, G neighbours of each.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvgssl.images.decoding import cores
from cvgssl.runtime.errors import UserError

EXACT = 20_000  # pictures up to which all pairs are looked at
LOOKED_AT = 8000  # pictures at least that each is compared with otherwise
ROUNDS = 10  # of k-means
CHUNK, FOLD = 1024, 32
MOST_THREADS = 4  # each takes some 200 MB where there are 20,000 pictures


def neighbour_graph(rows: NDArray[np.floating[Any]], neighbours: int) -> sparse.csr_array:
    """Symmetric edge weights, float64 [N, N], of those who are a nearest neighbour of the other.

    rows: float [N, D] of length 1. A weight is exp(-d_ij^2 / (s_i s_j)), s_i the distance to a
    middle neighbour (Zelnik-Manor & Perona 2004). Beyond 20,000 pictures neighbours are
    approximate (faiss, extra `large`; without it UserError says so): one in a hundred or fewer is
    missed.
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


def edges_crossed(graph: sparse.csr_array, groups: NDArray[np.intp]) -> float:
    """Share 0..1 of the edges' weight that is between different groups; groups: ints [N]."""
    edges = graph.tocoo()
    across = groups[edges.row] != groups[edges.col]
    return float(edges.data[across].sum() / max(edges.data.sum(), 1e-12))


def local_scale(cosine: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Distance to a middle neighbour [N] from cosines [N, G] to neighbours, nearest first."""
    middle = 2 - 2 * cosine[:, cosine.shape[1] // 2].astype(np.float64)
    scale: NDArray[np.float64] = np.sqrt(middle.clip(0)).clip(1e-6)
    return scale


def edge_weights(
    cosine: NDArray[np.floating[Any]], scales: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """exp(-distance^2 / scales), never quite 0, from cosines and products of scales [N, G]."""
    squared = np.clip(2 - 2 * cosine.astype(np.float64), 0, None)
    weights: NDArray[np.float64] = np.exp(-squared / scales).clip(1e-12)
    return weights


def _exact(
    rows: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    def chunk(at: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        return nearest_neighbours(rows[at : at + CHUNK], rows, neighbours, at)

    with ThreadPoolExecutor(min(cores(), MOST_THREADS)) as threads:
        cosines, places = zip(*threads.map(chunk, range(0, len(rows), CHUNK)), strict=True)
    return np.concatenate(cosines), np.concatenate(places)


def nearest_neighbours(
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
    # the largest are in the columns of the folded row with the largest maxima: most need no order
    columns = np.arange(FOLD * width).reshape(FOLD, width)
    folded = np.maximum.reduce([values[:, fold[0] : fold[-1] + 1] for fold in columns])
    best = np.argpartition(folded, -count, axis=1)[:, -count:]
    candidates = np.moveaxis(columns[:, best], 0, 1).reshape(len(values), -1)
    rest = np.arange(FOLD * width, values.shape[1])
    rest = np.broadcast_to(rest, (len(values), len(rest)))
    candidates = np.concatenate([candidates, rest], axis=1)
    looked_at = np.take_along_axis(values, candidates, axis=1)
    largest = np.argpartition(looked_at, -count, axis=1)[:, -count:]
    return np.take_along_axis(candidates, largest, axis=1)


def _approximate(
    rows: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Like `_exact`, but a row looks only at its own cell and the cells around that one.

    All rows of a cell look at the same others, so the work is in products of matrices; an index
    that looks row by row takes more than twice as long.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"a graph over {len(rows)} pictures needs faiss: pip install 'cvgssl[large]'"
        ) from error
    count = int(2 * len(rows) ** 0.5)
    means = faiss.Kmeans(
        rows.shape[1], count, niter=ROUNDS, spherical=True, seed=0, max_points_per_centroid=40
    )
    means.train(rows)
    cell = means.index.search(rows, 1)[1][:, 0]
    order, sizes = np.argsort(cell, kind="stable"), np.bincount(cell, minlength=count)
    members = np.split(order, sizes.cumsum()[:-1])
    centres = np.asarray(means.centroids)
    alike = centres @ centres.T
    np.fill_diagonal(alike, 2)  # a cell comes before its twins
    cosine = np.empty((len(rows), neighbours), dtype=np.float32)
    places = np.empty((len(rows), neighbours), dtype=np.intp)
    for number, around in enumerate(np.argsort(-alike, axis=1)):
        mine = members[number]
        cells = np.searchsorted(sizes[around].cumsum(), LOOKED_AT + neighbours + 1) + 1
        others = np.concatenate([members[near] for near in around[:cells]])
        values, indices = faiss.knn(
            rows[mine], rows[others], neighbours + 1, metric=faiss.METRIC_INNER_PRODUCT
        )
        keep = _all_but(mine, others[indices])
        cosine[mine] = values[keep].reshape(-1, neighbours)
        places[mine] = others[indices][keep].reshape(-1, neighbours)
    return cosine, places


def _all_but(mine: NDArray[np.intp], places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of places [Q, G + 1] are not the row `mine` [Q] itself, G in each row.

    The last is dropped where a row has more twins than neighbours and is not among them.
    """
    keep: NDArray[np.bool_] = places != mine[:, None]
    keep[keep.all(axis=1), -1] = False
    return keep
