"""k-means clusters of embeddings and the picture in the middle of each.

Shape letters: N pictures, D features.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from cvgssl.fewshot.selection.base import squared_distances
from cvgssl.runtime.seeds import seed_for

STARTS = 10  # of k-means, while that is quick
STARTS_LARGE = 2
LARGE = 1e8  # N * clusters * D
MIDDLE = 500  # pictures of a cluster that may be its middle


def cluster(rows: NDArray[np.float32], count: int, seed: int) -> NDArray[np.intp]:
    """The cluster of each row, int [N], 0..count-1; some stay empty where rows are equal."""
    starts = STARTS if float(rows.size) * count <= LARGE else STARTS_LARGE
    found = KMeans(count, n_init=starts, random_state=seed_for(seed, "k-means") % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        return np.asarray(found.fit_predict(rows), dtype=np.intp)


def medoid(rows: NDArray[np.float32], members: NDArray[np.intp]) -> int:
    """Which of the rows `members` has the smallest mean distance to the others of them.

    In a cluster of over 500 only the 500 nearest to the mean can be it.
    """
    own = rows[members]
    middle = np.argsort(squared_distances(own, own.mean(axis=0)[None])[:, 0], kind="stable")
    middle = middle[:MIDDLE]
    total = np.zeros(len(middle))
    for start in range(0, len(own), 4000):
        distances = np.sqrt(squared_distances(own[middle], own[start : start + 4000]))
        total += distances.sum(axis=1, dtype=np.float64)
    return int(members[middle[total.argmin()]])
