"""What all strategies are given and give.

Shape letters: N pictures of the pool, D features, B pictures to be chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1


@dataclass(frozen=True)
class Pool:
    """Pictures to choose from.

    rows: float32 [N, D], centred and of length 1.
    labels: int64 [N], the class that a person gave, 0..K-1, or -1.
    closed: bool [N], true for those that are not to be chosen (again).
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.int64]
    closed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.labels) == len(self.closed)
        assert self.closed[self.labels != UNLABELLED].all()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def covered(self) -> NDArray[np.intp]:
        """Rows that need no other picture like them: the closed ones."""
        return np.flatnonzero(self.closed)


@dataclass(frozen=True)
class Picked:
    """B different open rows int64 [B], the one to label first at the head, and a score for each.

    scores: float64 [B]; what they mean is the strategy's own (see there).
    """

    order: NDArray[np.intp]
    scores: NDArray[np.float64]


Strategy = Callable[[Pool, int, int], Picked]
"""(pool, budget, seed) -> picked; 1 <= budget <= open rows. The same arguments, the same rows."""


def squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances [A, B], at least 0."""
    found: NDArray[np.float32] = -2 * (a @ b.T)
    found += np.square(a).sum(axis=1)[:, None]
    found += np.square(b).sum(axis=1)
    np.maximum(found, 0, out=found)
    return found
