"""The pictures among which some are chosen for labelling, and clusters of them.

Shape letters: N candidates, D features, B pictures to be chosen.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from cvgssl.features.table import UNLABELLED as UNLABELLED
from cvgssl.runtime.seeds import seed_for


class Surroundings(NamedTuple):
    """What other pictures are around each, whatever has a label.

    mapped: float32 [N, E], the embeddings and their diffusion map side by side, of length 1.
    rareness: float64 [N], mean distance to the nearest neighbours, above 0.
    """

    mapped: NDArray[np.float32]
    rareness: NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Train pictures, of which those not labelled yet can be chosen.

    rows: float32 [N, D], centred and of length 1.
    labels: int64 [N], the class that a person gave, 0..K-1, or -1.
    closed: bool [N], true for those that are not to be chosen (again); others are open.
    surroundings: of the rows, for who chooses from the same rows again and again; `medoids`
    finds them where they are left out.
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.int64]
    closed: NDArray[np.bool_]
    surroundings: Surroundings | None = None

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.labels) == len(self.closed)
        assert self.closed[self.labels != UNLABELLED].all()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def covered(self) -> NDArray[np.intp]:
        """Rows [C], ascending, that need no other picture like them: the closed ones."""
        return np.flatnonzero(self.closed)


@dataclass(frozen=True)
class Picked:
    """B different open rows int64 [B], the one to label first at the head, and a score for each.

    scores: float64 [B]; what they mean is the strategy's own (see there).
    """

    order: NDArray[np.intp]
    scores: NDArray[np.float64]


Strategy = Callable[[Candidates, int, int], Picked]
"""(candidates, budget, seed) -> picked; 1 <= budget <= open rows. No other source of randomness."""


def squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances [A, B], at least 0."""
    squared: NDArray[np.float32] = -2 * (a @ b.T)
    squared += np.square(a).sum(axis=1)[:, None]
    squared += np.square(b).sum(axis=1)
    np.maximum(squared, 0, out=squared)
    return squared


STARTS = 10  # of k-means, while that is quick
STARTS_LARGE = 2
LARGE = 1e8  # N * clusters * D


def cluster(rows: NDArray[np.float32], count: int, seed: int) -> NDArray[np.intp]:
    """The cluster of each row, int [N], 0..count-1; some stay empty where rows are equal."""
    starts = STARTS if float(rows.size) * count <= LARGE else STARTS_LARGE
    k_means = KMeans(count, n_init=starts, random_state=seed_for(seed, "k-means") % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        return np.asarray(k_means.fit_predict(rows), dtype=np.intp)
