"""Medoids on the diffusion map: one picture for each region of the graph, then the doubtful ones.

On the map of the unlabelled pictures (features/diffusion.py) a class with several looks is one
region, and so is a rare class: clusters follow classes there more than they do in features.

Shape letters: N pictures, E width of the map, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.diffusion import diffusion_map
from cvgssl.fewshot.heads.base import unit
from cvgssl.fewshot.heads.linear import Logistic
from cvgssl.fewshot.selection.base import UNLABELLED, Picked, Pool, squared_distances
from cvgssl.fewshot.selection.clusters import cluster, medoid
from cvgssl.runtime.seeds import seed_for

LEAST_ROWS = 20  # for a graph
SURE = 0.3  # what a picture counts beside its doubt, in mean doubts
SAMPLE = 5000  # pictures that are weighed against each other


def medoids(pool: Pool, budget: int, seed: int) -> Picked:
    """The middles of k-means clusters on the map; with labels, where they leave most doubt.

    Without labels: as many clusters as pictures asked for, the largest first, and of each the
    picture with the smallest mean distance to the others; the score is the cluster's share of the
    pool. With labels: greedy facility location, each time the picture that most reduces the mean
    distance of all to the nearest labelled or chosen one (the score), where pictures weigh by the
    margin between the two likeliest classes of a logistic regression on the map. Of more than
    5000 pictures as many are drawn for that, in proportion to weight.

    Settings were chosen on generated pictures and on train/ of NEU-CLS and X-SDD
    (docs/selecting.md).
    """
    mapped = pool.rows
    if len(pool) >= LEAST_ROWS:
        mapped = unit(diffusion_map(pool.rows).astype(np.float64)).astype(np.float32)
    if len(pool.covered):
        return _add(mapped, pool, budget, seed)
    codes = cluster(mapped, budget, seed)
    groups = [np.flatnonzero(codes == code) for code in range(budget)]
    groups = sorted((group for group in groups if len(group)), key=len, reverse=True)
    order = np.array([medoid(mapped, group) for group in groups], dtype=np.intp)
    scores = np.array([len(group) / len(pool) for group in groups])
    if len(order) == budget:
        return Picked(order, scores)
    closed = pool.closed.copy()  # equal pictures gave fewer clusters
    closed[order] = True
    rest = _add(mapped, Pool(pool.rows, pool.labels, closed), budget - len(order), seed)
    return Picked(np.concatenate([order, rest.order]), np.concatenate([scores, rest.scores]))


def _add(mapped: NDArray[np.float32], pool: Pool, budget: int, seed: int) -> Picked:
    """Greedy facility location with the closed pictures as given."""
    weight = _doubt(mapped, pool.labels)
    weight += SURE * weight.mean()
    looked = np.arange(len(pool))
    if len(pool) > max(SAMPLE, budget):
        generator = np.random.default_rng(seed_for(seed, "medoids"))
        asked = np.where(pool.closed, 0, weight)
        size = min(max(SAMPLE, budget), int(np.count_nonzero(asked)))
        looked = generator.choice(len(pool), size, replace=False, p=asked / asked.sum())
        weight = np.ones(len(pool))
    rows, closed = mapped[looked], pool.closed[looked].copy()
    share = (weight[looked] / weight[looked].sum()).astype(np.float32)
    between = np.sqrt(squared_distances(rows, rows))
    nearest = np.full(len(rows), 2.0, dtype=np.float32)  # rows have length 1
    for row in pool.covered:
        to_it = np.sqrt(squared_distances(rows, mapped[row : row + 1])[:, 0])
        nearest = np.minimum(nearest, to_it)
    order, scores = [], []
    for _ in range(budget):
        gain = share @ np.maximum(nearest[:, None] - between, 0)
        gain[closed] = -1
        chosen = int(gain.argmax())
        order.append(chosen)
        scores.append(float(gain[chosen]))
        closed[chosen] = True
        nearest = np.minimum(nearest, between[chosen])
    return Picked(looked[np.array(order)], np.array(scores))


def _doubt(mapped: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 - margin [N], 0..1, of the two likeliest classes; 1 while a single class is known."""
    known = labels != UNLABELLED
    if len(np.unique(labels[known])) < 2:
        return np.ones(len(labels))
    head = Logistic().fit(mapped[known], labels[known])
    likely = np.sort(head.predict_proba(mapped), axis=1)
    doubt: NDArray[np.float64] = 1 - (likely[:, -1] - likely[:, -2])
    return doubt
