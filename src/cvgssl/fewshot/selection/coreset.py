"""Farthest first: the greedy solution of the k-centre problem, called coreset."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.selection.base import Picked, Pool, squared_distances
from cvgssl.runtime.seeds import seed_for


def coreset(pool: Pool, budget: int, seed: int) -> Picked:
    """The picture farthest from all chosen and labelled ones, again and again.

    Sener & Savarese 2018 (ICLR), "Active learning for convolutional neural networks: a core-set
    approach", k-centre greedy. Without labels the first one is drawn at random. Scores are
    distances to the nearest one before (2, the largest there is, for the first).
    """
    rows, closed = pool.rows, pool.closed.copy()
    nearest = np.full(len(pool), np.inf, dtype=np.float32)
    for row in pool.covered:
        nearest = np.minimum(nearest, _to(rows, row))
    order: list[int] = []
    scores: list[float] = []
    for _ in range(budget):
        row = int(np.where(closed, -1, nearest).argmax())
        if np.isinf(nearest[row]):
            row = int(np.random.default_rng(seed_for(seed, "coreset")).integers(len(pool)))
        order.append(row)
        scores.append(min(float(nearest[row]), 2.0))
        closed[row] = True
        nearest = np.minimum(nearest, _to(rows, row))
    return Picked(np.array(order), np.array(scores))


def _to(rows: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    """Distances [N] to one of the rows."""
    distances: NDArray[np.float32] = np.sqrt(squared_distances(rows, rows[row : row + 1])[:, 0])
    return distances
