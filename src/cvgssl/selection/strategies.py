"""Strategies that choose which pictures to label; `STRATEGIES` lists them.

On the map of the unlabelled pictures (features/diffusion_map.py) a class of several appearances is
one region, and so is a rare class: clusters follow classes there more than they do in features.

Shape letters: N pictures, D numbers of an embedding, B pictures to choose.
"""

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.diffusion_map import diffusion_map
from cvgssl.heads.base import unit
from cvgssl.heads.linear import Logistic
from cvgssl.runtime.seeds import seed_for
from cvgssl.selection.candidates import (
    UNLABELLED,
    Candidates,
    Picked,
    Strategy,
    Surroundings,
    cluster,
    squared_distances,
)
from cvgssl.selection.config import StrategyName


def at_random(candidates: Candidates, budget: int, seed: int) -> Picked:
    """Any of the open pictures with the same probability. Scores are 0."""
    generator = np.random.default_rng(seed_for(seed, "random"))
    order = generator.permutation(np.flatnonzero(~candidates.closed))[:budget]
    return Picked(order, np.zeros(budget))


def coreset(candidates: Candidates, budget: int, seed: int) -> Picked:
    """The picture farthest from all chosen and labelled ones, again and again.

    Sener & Savarese 2018 (ICLR), "Active learning for convolutional neural networks: a core-set
    approach", k-centre greedy. Without labels the first one is drawn at random. Scores are
    distances to the nearest one before (2, the largest there is, for the first).
    """
    rows, closed = candidates.rows, candidates.closed.copy()
    nearest = np.full(len(candidates), np.inf, dtype=np.float32)
    for row in candidates.covered:
        nearest = np.minimum(nearest, _to(rows, rows[row]))
    order: list[int] = []
    scores: list[float] = []
    for _ in range(budget):
        row = int(np.where(closed, -1, nearest).argmax())
        if np.isinf(nearest[row]):
            row = int(np.random.default_rng(seed_for(seed, "coreset")).integers(len(candidates)))
        order.append(row)
        scores.append(min(float(nearest[row]), 2.0))
        closed[row] = True
        nearest = np.minimum(nearest, _to(rows, rows[row]))
    return Picked(np.array(order), np.array(scores))


def _to(rows: NDArray[np.float32], row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances [N] to a row [D]."""
    distances: NDArray[np.float32] = np.sqrt(squared_distances(rows, row[None])[:, 0])
    return distances


LEAST_ROWS = 20  # for a graph
SURE = 0.3  # what a picture counts beside its doubt, in mean doubts
NEAREST = 10  # neighbours by whose distance pictures weigh, among at most AMONG pictures
FAR_EVERY = 2  # which pictures are the farthest ones: every second
MEDOID_SAMPLE = 5000  # pictures that are weighed against each other
CHUNK = 1000
AMONG = 4000  # pictures that each is compared with for its nearest neighbours


def medoids(candidates: Candidates, budget: int, seed: int) -> Picked:
    """Pictures that represent many others; rare ones and doubtful ones count more.

    Greedy facility location (k-medoids), each time the picture that most reduces the mean distance
    of all to the nearest labelled or chosen one (the score). Distances are those of the embeddings
    and of their map, side by side. Pictures weigh by the mean distance to their 10 nearest
    neighbours, so that a kind of which there are many does not take all labels, and, once two
    classes have labels, by the margin between the two likeliest classes of a logistic regression.
    Every second picture is the one whose embedding is farthest from all chosen ones (`coreset`):
    there small kinds are. Of more than 5000 pictures as many are drawn, in proportion to weight.

    Settings were chosen inside train/ (docs/results/selection.md).
    """
    rows = candidates.rows
    joined, rareness = candidates.surroundings or surroundings(rows)
    weight = rareness * _doubt(rows, candidates.labels)
    looked = np.arange(len(candidates))
    if len(candidates) > max(MEDOID_SAMPLE, budget):
        generator = np.random.default_rng(seed_for(seed, "medoids"))
        chance = np.where(candidates.closed, 0, weight)
        size = min(max(MEDOID_SAMPLE, budget), int(np.count_nonzero(chance)))
        looked = generator.choice(len(candidates), size, replace=False, p=chance / chance.sum())
        weight = np.ones(len(candidates))
    some, joined_some = rows[looked], joined[looked]
    share = (weight[looked] / weight[looked].sum()).astype(np.float32)
    between = np.sqrt(squared_distances(joined_some, joined_some))
    nearest = np.full(len(looked), 2, dtype=np.float32)  # rows have length 1
    far = nearest.copy()  # by the embeddings alone
    for row in candidates.covered:
        nearest = np.minimum(nearest, _to(joined_some, joined[row]))
        far = np.minimum(far, _to(some, rows[row]))
    closed = candidates.closed[looked].copy()
    order, scores = [], []
    for number in range(len(candidates.covered) + 1, len(candidates.covered) + budget + 1):
        gain = share @ np.maximum(nearest[:, None] - between, 0)
        chosen = int(np.where(closed, -1, gain if number % FAR_EVERY else far).argmax())
        order.append(chosen)
        scores.append(float(gain[chosen]))
        closed[chosen] = True
        nearest = np.minimum(nearest, between[chosen])
        far = np.minimum(far, _to(some, some[chosen]))
    return Picked(looked[np.array(order)], np.array(scores))


def surroundings(rows: NDArray[np.float32]) -> Surroundings:
    """Of rows [N, D] of length 1. Raises UserError where a graph of so many needs a library."""
    return Surroundings(_beside_map(rows), _rareness(rows))


def _beside_map(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings and their map side by side, of length 1."""
    if len(rows) < LEAST_ROWS:
        return rows
    mapped = unit(diffusion_map(rows).astype(np.float64))
    joined: NDArray[np.float32] = np.concatenate([mapped, rows], axis=1, dtype=np.float32)
    joined /= np.float32(np.sqrt(2))
    return joined


def _rareness(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean distance [N] to the nearest neighbours, above 0."""
    near = min(NEAREST, len(rows) - 1)
    distance = _mean_distance(rows, near) if near else np.zeros(len(rows))
    rareness: NDArray[np.float64] = np.maximum(distance, 1e-6)
    return rareness


def _doubt(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 - margin [N] of the two likeliest classes, above 0; 1 while a single class is known."""
    labelled = labels != UNLABELLED
    if len(np.unique(labels[labelled])) < 2:
        return np.ones(len(labels))
    head = Logistic().fit(rows[labelled], labels[labelled])
    likely = np.sort(head.predict_proba(rows), axis=1)
    doubt: NDArray[np.float64] = 1 - (likely[:, -1] - likely[:, -2])
    doubt += SURE * doubt.mean()
    return doubt


def _mean_distance(rows: NDArray[np.float32], near: int) -> NDArray[np.float64]:
    """Mean distance [N] of each row to the `near` nearest of the others.

    Of more than 4000 only every n-th is compared with.
    """
    step = -(-len(rows) // AMONG)
    sample = rows[::step]
    mean = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        squared = squared_distances(rows[start : start + CHUNK], sample)
        nearest = np.sqrt(np.partition(squared, near, axis=1)[:, : near + 1])
        # a row of the sample is among its own neighbours, at distance 0
        others = (start + np.arange(len(nearest))) % step != 0
        nearest[others, near] = 0
        mean[start : start + CHUNK] = nearest.sum(axis=1) / near
    return mean


NEIGHBOURS = 20
TYPICAL_CLUSTERS = 500  # at most
LEAST = 5  # pictures of a cluster that counts


def typiclust(candidates: Candidates, budget: int, seed: int) -> Picked:
    """The most typical picture of the largest cluster with the fewest labels, again and again.

    Hacohen, Dekel & Weinshall 2022 (ICML), "Active learning on a budget: opposite strategies suit
    high and low budgets": as many k-means clusters as labelled and asked pictures, 500 at most;
    clusters of fewer than 5 come last. Typicality, the score, is one over the mean distance to
    the 20 nearest pictures of the cluster.
    """
    count = min(len(candidates.covered) + budget, TYPICAL_CLUSTERS, len(candidates))
    codes = cluster(candidates.rows, count, seed)
    size = np.bincount(codes, minlength=count)
    labels = np.bincount(codes[candidates.closed], minlength=count)
    waiting: dict[int, list[tuple[int, float]]] = {}
    order, scores = [], []
    for _ in range(budget):
        still_open = size - labels > 0
        rank = np.lexsort((-size, labels, size < LEAST, ~still_open))
        chosen = int(rank[0])
        if chosen not in waiting:
            waiting[chosen] = _by_typicality(candidates, np.flatnonzero(codes == chosen))
        row, score = waiting[chosen].pop(0)
        order.append(row)
        scores.append(score)
        labels[chosen] += 1
    return Picked(np.array(order), np.array(scores))


def _by_typicality(candidates: Candidates, members: NDArray[np.intp]) -> list[tuple[int, float]]:
    """Open members, the most typical first."""
    rows = candidates.rows[members]
    near = min(NEIGHBOURS, len(members) - 1)
    if near == 0:
        return [(int(members[0]), 0.0)]
    density = 1 / np.maximum(_mean_distance(rows, near), 1e-6)
    best = np.argsort(-density, kind="stable")
    return [(int(members[i]), float(density[i])) for i in best if not candidates.closed[members[i]]]


PURITY = 0.95  # share of balls that hold one cluster only
BALL_CLUSTERS = 6  # at most, for the number of classes, which nobody knows; more, and twins win
BALL_SAMPLE = 10_000  # pictures that are looked at


def probcover(candidates: Candidates, budget: int, seed: int) -> Picked:
    """The picture whose ball holds most pictures that no ball holds yet, again and again.

    Yehuda, Dekel, Hacohen & Weinshall 2022 (NeurIPS), "Active learning through a covering lens":
    the radius is the largest at which 95 % of balls hold pictures of a single k-means cluster. Of
    clusters there are six at most: with as many as labels, the balls shrink to near twins. The
    score is the share of the pictures that a ball newly covers. Of more than 10,000 pictures, as
    many are drawn, with all closed ones. What is left when all is covered comes at random.
    """
    generator = np.random.default_rng(seed_for(seed, "probcover"))
    looked = _sample(candidates, budget, generator)
    rows, closed = candidates.rows[looked], candidates.closed[looked].copy()
    count = len(rows)
    codes = cluster(rows, min(max(budget + len(candidates.covered), 2), BALL_CLUSTERS, count), seed)
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


def _sample(
    candidates: Candidates, budget: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    if len(candidates) <= BALL_SAMPLE:
        return np.arange(len(candidates))
    still_open = generator.permutation(np.flatnonzero(~candidates.closed))
    room = max(BALL_SAMPLE - len(candidates.covered), budget)
    return np.sort(np.concatenate([candidates.covered, still_open[:room]]))


def _radius(rows: NDArray[np.float32], codes: NDArray[np.intp]) -> float:
    """Squared: below the distance to another cluster for all but 5 % of the rows."""
    other = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        squared = squared_distances(rows[start : start + CHUNK], rows)
        squared[codes[start : start + CHUNK, None] == codes] = np.inf
        other[start : start + CHUNK] = squared.min(axis=1)
    return float(np.quantile(other, 1 - PURITY, method="lower"))


def _balls(rows: NDArray[np.float32], radius: float) -> NDArray[np.uint8]:
    """Bits [N, N / 8]: whether a row (second axis) is in the ball of another (first axis)."""
    balls = []
    for start in range(0, len(rows), CHUNK):
        near = squared_distances(rows[start : start + CHUNK], rows) < radius
        at = np.arange(len(near))
        near[at, start + at] = True  # rounding may put a row outside its own ball
        balls.append(np.packbits(near, axis=1))
    return np.concatenate(balls)


STRATEGIES: dict[StrategyName, Strategy] = {
    "medoids": medoids,
    "typiclust": typiclust,
    "probcover": probcover,
    "coreset": coreset,
    "random": at_random,
}
