"""ProbCover: as many pictures as possible within a ball around a chosen one."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.selection.base import Picked, Pool, squared_distances
from cvgssl.fewshot.selection.clusters import cluster
from cvgssl.runtime.seeds import seed_for

PURITY = 0.95  # share of balls that hold one cluster only
CLUSTERS = 6  # at most, for the number of classes, which nobody knows; more, and twins win
SAMPLE = 10_000  # pictures that are looked at
CHUNK = 1000


def probcover(pool: Pool, budget: int, seed: int) -> Picked:
    """The picture whose ball holds most pictures that no ball holds yet, again and again.

    Yehuda, Dekel, Hacohen & Weinshall 2022 (NeurIPS), "Active learning through a covering lens":
    the radius is the largest at which 95 % of balls hold pictures of a single k-means cluster. Of
    clusters there are six at most: with as many as labels, the balls shrink to near twins. The
    score is the share of the pictures that a ball newly covers. Of more than 10,000 pictures, as
    many are drawn, with all closed ones. What is left when all is covered comes at random.
    """
    generator = np.random.default_rng(seed_for(seed, "probcover"))
    looked = _sample(pool, budget, generator)
    rows, closed = pool.rows[looked], pool.closed[looked].copy()
    count = len(rows)
    codes = cluster(rows, min(max(budget + len(pool.covered), 2), CLUSTERS, count), seed)
    balls = _balls(rows, _radius(rows, codes))
    covered = np.zeros(balls.shape[1], dtype=np.uint8)
    covered |= np.bitwise_or.reduce(balls[closed], axis=0)
    tie = generator.permutation(count)
    order, scores = [], []
    for _ in range(budget):
        gain = np.bitwise_count(balls & ~covered).sum(axis=1, dtype=np.int64)
        row = int(np.lexsort((tie, -gain, closed))[0])
        order.append(row)
        scores.append(float(gain[row]) / count)
        closed[row] = True
        covered |= balls[row]
    return Picked(looked[np.array(order)], np.array(scores))


def _sample(pool: Pool, budget: int, generator: np.random.Generator) -> NDArray[np.intp]:
    if len(pool) <= SAMPLE:
        return np.arange(len(pool))
    open_ones = generator.permutation(np.flatnonzero(~pool.closed))
    room = max(SAMPLE - len(pool.covered), budget)
    return np.sort(np.concatenate([pool.covered, open_ones[:room]]))


def _radius(rows: NDArray[np.float32], codes: NDArray[np.intp]) -> float:
    """Squared: below the distance to another cluster for all but 5 % of the rows."""
    other = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        squared = squared_distances(rows[start : start + CHUNK], rows)
        squared[codes[start : start + CHUNK, None] == codes] = np.inf
        other[start : start + CHUNK] = squared.min(axis=1)
    return float(np.quantile(other, 1 - PURITY, method="lower"))


def _balls(rows: NDArray[np.float32], radius: float) -> NDArray[np.uint8]:
    """Bits [N, N / 8]: whether a row (second axis) lies in the ball of another (first axis)."""
    found = []
    for start in range(0, len(rows), CHUNK):
        near = squared_distances(rows[start : start + CHUNK], rows) < radius
        at = np.arange(len(near))
        near[at, start + at] = True  # rounding may put a row outside its own ball
        found.append(np.packbits(near, axis=1))
    return np.concatenate(found)
