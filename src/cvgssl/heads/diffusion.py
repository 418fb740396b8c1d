"""Few labels on the diffusion map of all pictures instead of on their features."""

from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import clone

from cvgssl.features.diffusion import diffusion_map
from cvgssl.features.graph import digest, remembered
from cvgssl.heads.base import FewShotHead, Floats, unit
from cvgssl.heads.linear import Logistic

LANDMARKS = 4000  # rows at most from which the map is learned
LEAST_ROWS = 100  # without a label, for a graph that says more than the labels
CHUNK = 4096


def is_crowd(target: NDArray[np.int64]) -> bool:
    """Whether there are enough rows without a label to learn from; target [N], -1 without."""
    return int((target < 0).sum()) >= LEAST_ROWS


class KernelMap:
    """The map as a smooth function of features: kernel ridge regression of its coordinates.

    rows: float [N, D] of length 1; coordinates: [N, E]. Kernel exp(-|a - b|^2 / width), width the
    median squared distance.
    """

    def __init__(self, rows: Floats, coordinates: Floats, ridge: float) -> None:
        order = np.random.default_rng(0).permutation(len(rows))[:LANDMARKS]
        self.rows = rows[np.sort(order)]
        kept = coordinates[np.sort(order)]
        self.width = max(float(np.median(2 - 2 * self.rows @ self.rows.T)), 1e-6)
        self.mean = kept.mean(axis=0)
        matrix = self._kernel(self.rows)
        matrix[np.diag_indices(len(matrix))] += ridge * len(matrix)
        self.dual = cho_solve(cho_factor(matrix), kept - self.mean)

    def _kernel(self, rows: Floats) -> Floats:
        kernel: Floats = np.exp((2 * rows @ self.rows.T - 2) / self.width)
        return kernel

    def __call__(self, rows: Floats) -> Floats:
        """Coordinates [M, E] of rows [M, D], both of length 1."""
        parts = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
        return unit(np.concatenate([self._kernel(one) @ self.dual + self.mean for one in parts]))


class MapHead(FewShotHead):
    """A head that works on the diffusion map of all rows (Coifman & Lafon 2006).

    The map is made from labelled and unlabelled rows alike and learned as a function of the
    features, so a new row is classified by itself. With fewer than 100 unlabelled rows a map says
    less than the labels, and the head works on the features themselves. Subclasses give
    `_fit_mapped` and `_score_mapped`.

    neighbours, time, width: of the map; 0 neighbours: no map. ridge: of the function.
    label_distributions_: probabilities [N, K] of the rows of `fit`.
    """

    uses_unlabelled = True

    def __init__(
        self, neighbours: int = 10, time: float = 8.0, width: int = 64, ridge: float = 1e-5
    ) -> None:
        self.neighbours = neighbours
        self.time = time
        self.width = width
        self.ridge = ridge

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.map_ = self._map(features, target)
        self.label_distributions_ = self._fit_mapped(_mapped(self.map_, features), target)

    def on_map(self, features: Floats, target: NDArray[np.int64]) -> tuple[Self, Floats]:
        """This head without a map of its own, and where the map puts rows [N, D]: [N, E]."""
        return clone(self).set_params(neighbours=0), _mapped(self._map(features, target), features)

    def _map(self, features: Floats, target: NDArray[np.int64]) -> KernelMap | None:
        if self.neighbours == 0 or not is_crowd(target):
            return None
        options = (self.neighbours, self.time, self.width, self.ridge)
        key = ("diffusion", digest(features), *options)
        return remembered(key, lambda: self._learn(unit(features)))

    def _learn(self, rows: Floats) -> KernelMap:
        coordinates = diffusion_map(rows, self.neighbours, self.time, self.width)
        return KernelMap(rows, coordinates.astype(np.float64), self.ridge)

    def _probabilities(self, features: Floats) -> Floats:
        return self._score_mapped(_mapped(self.map_, features))

    @abstractmethod
    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        """Learn from rows [N, E] of length 1; the probabilities [N, K] of all of them."""

    @abstractmethod
    def _score_mapped(self, rows: Floats) -> Floats:
        """Probabilities [M, K] of rows [M, E] of length 1."""


def _mapped(known: KernelMap | None, features: Floats) -> Floats:
    """Rows of length 1 on the map, or as they are without one; many at once are remembered."""
    if known is None:
        return unit(features)
    if len(features) < LEAST_ROWS:
        return known(unit(features))
    # the map itself is the key: it is the same object for all draws
    return remembered((known, digest(features)), lambda: known(unit(features)))


class DiffusionHead(MapHead):
    """Logistic regression of the labelled rows on the diffusion map of all rows; see `MapHead`.

    strength: of `Logistic`.
    """

    def __init__(
        self,
        neighbours: int = 10,
        time: float = 8.0,
        width: int = 64,
        ridge: float = 1e-5,
        strength: float = 10.0,
    ) -> None:
        super().__init__(neighbours, time, width, ridge)
        self.strength = strength

    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        known = target >= 0
        self.head_ = Logistic(self.strength).fit(rows[known], target[known])
        return self._score_mapped(rows)

    def _score_mapped(self, rows: Floats) -> Floats:
        return self.head_.predict_proba(rows)
