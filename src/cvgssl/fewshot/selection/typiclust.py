"""TypiClust: the most typical picture of each cluster."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.selection.base import Picked, Pool, squared_distances
from cvgssl.fewshot.selection.clusters import cluster

NEIGHBOURS = 20
CLUSTERS = 500  # at most
LEAST = 5  # pictures of a cluster that counts
AMONG = 4000  # pictures of a cluster that are looked at


def typiclust(pool: Pool, budget: int, seed: int) -> Picked:
    """The most typical picture of the largest cluster with the fewest labels, again and again.

    Hacohen, Dekel & Weinshall 2022 (ICML), "Active learning on a budget: opposite strategies suit
    high and low budgets": as many k-means clusters as labelled and asked pictures, 500 at most;
    clusters of fewer than 5 come last. Typicality, the score, is one over the mean distance to
    the 20 nearest pictures of the cluster.
    """
    count = min(len(pool.covered) + budget, CLUSTERS, len(pool))
    codes = cluster(pool.rows, count, seed)
    size = np.bincount(codes, minlength=count)
    labels = np.bincount(codes[pool.closed], minlength=count)
    waiting: dict[int, list[tuple[int, float]]] = {}
    order, scores = [], []
    for _ in range(budget):
        open_ones = size - labels > 0
        rank = np.lexsort((-size, labels, size < LEAST, ~open_ones))
        chosen = int(rank[0])
        if chosen not in waiting:
            waiting[chosen] = _by_typicality(pool, np.flatnonzero(codes == chosen))
        row, score = waiting[chosen].pop(0)
        order.append(row)
        scores.append(score)
        labels[chosen] += 1
    return Picked(np.array(order), np.array(scores))


def _by_typicality(pool: Pool, members: NDArray[np.intp]) -> list[tuple[int, float]]:
    """Open members, the most typical first."""
    rows = pool.rows[members]
    near = min(NEIGHBOURS, len(members) - 1)
    if near == 0:
        return [(int(members[0]), 0.0)]
    # of a very large cluster every n-th picture stands for those around it
    sample = rows[:: -(-len(rows) // AMONG)]
    density = np.empty(len(rows))
    for start in range(0, len(rows), 1000):
        squared = squared_distances(rows[start : start + 1000], sample)
        nearest = np.partition(squared, near, axis=1)
        # a picture is among its own neighbours, at distance 0
        mean = np.sqrt(nearest[:, : near + 1]).sum(axis=1) / near
        density[start : start + 1000] = 1 / np.maximum(mean, 1e-6)
    best = np.argsort(-density, kind="stable")
    return [(int(members[i]), float(density[i])) for i in best if not pool.closed[members[i]]]
