"""Few labels on the diffusion map of all pictures instead of on their features."""

import weakref
from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.features.diffusion_map import DiffusionMap
from cvgssl.features.graph_cache import cached
from cvgssl.heads.base import FewShotHead, Floats, unit
from cvgssl.heads.linear import Logistic

LEAST_ROWS = 100  # unlabelled ones, for a graph that says more than the labels


def enough_unlabelled(target: NDArray[np.int64]) -> bool:
    """Whether there are enough rows without a label to learn from; target [N], -1 without."""
    return int((target < 0).sum()) >= LEAST_ROWS


def fit_map(
    features: Floats, target: NDArray[np.int64], unfitted: DiffusionMap
) -> DiffusionMap | None:
    """The map of rows [N, D], from the open cache if there is one; None without enough of them."""
    if not enough_unlabelled(target):
        return None
    options = tuple(sorted(unfitted.get_params().items()))
    return cached(lambda: unfitted.fit(features), "diffusion map", features, options)


def mapped(diffusion_map: DiffusionMap | None, features: Floats) -> Floats:
    """Coordinates [M, E] of length 1; without a map, the rows themselves, scaled to length 1."""
    if diffusion_map is None:
        return unit(features)
    # a weak reference: a map that the cache has dropped is not kept by its key
    key = ("mapped", weakref.ref(diffusion_map), features)
    return cached(lambda: diffusion_map.transform(features), *key)


class MapHead(FewShotHead):
    """A head that works on the diffusion map of all rows.

    The map (`DiffusionMap`) is learned from labelled and unlabelled rows alike. With fewer than 100
    unlabelled rows it says less than the labels, and the head works on the features themselves,
    scaled to length 1. Subclasses give `_fit_mapped` and `_score_mapped`.

    Parameters
    ----------
    neighbours, time, width, ridge
        Of `DiffusionMap`; no neighbours: no map.

    Attributes
    ----------
    map_ : DiffusionMap or None
        None where the head works on the features.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the rows of `fit`.
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
        self.map_ = self._fit_map(features, target)
        self.label_distributions_ = self._fit_mapped(mapped(self.map_, features), target)

    def on_map(self, features: Floats, target: NDArray[np.int64]) -> tuple[Self, Floats]:
        """This head without a map of its own, and coordinates [N, E] of the rows [N, D]."""
        coordinates = mapped(self._fit_map(features, target), features)
        return clone(self).set_params(neighbours=0), coordinates

    def _fit_map(self, features: Floats, target: NDArray[np.int64]) -> DiffusionMap | None:
        if self.neighbours == 0:
            return None
        unfitted = DiffusionMap(self.neighbours, self.time, self.width, self.ridge)
        return fit_map(features, target, unfitted)

    def _probabilities(self, features: Floats) -> Floats:
        return self._score_mapped(mapped(self.map_, features))

    @abstractmethod
    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        """Learn from rows [N, E] of length 1; the probabilities [N, K] of all of them."""

    @abstractmethod
    def _score_mapped(self, rows: Floats) -> Floats:
        """Probabilities [M, K] of rows [M, E] of length 1."""


class DiffusionHead(MapHead):
    """Logistic regression of the labelled rows on the diffusion map of all rows.

    Parameters
    ----------
    neighbours, time, width, ridge
        Of the map; see `MapHead`.
    strength : float, default=10.0
        Of `Logistic`.

    Attributes
    ----------
    head_ : Logistic
        Fitted to the labelled rows' coordinates.

    References
    ----------
    Coifman & Lafon 2006 (Applied and Computational Harmonic Analysis 21), "Diffusion maps".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.diffusion import DiffusionHead
    >>> truth = np.arange(150) % 3
    >>> rows = np.eye(8)[truth] + 0.1 * np.random.default_rng(0).standard_normal((150, 8))
    >>> one_label_each = np.where(np.arange(150) < 3, truth, -1)
    >>> head = DiffusionHead().fit(rows, one_label_each)
    >>> float((head.transduction_ == truth).mean())
    1.0
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
        labelled = target >= 0
        self.head_ = Logistic(self.strength).fit(rows[labelled], target[labelled])
        return self._score_mapped(rows)

    def _score_mapped(self, rows: Floats) -> Floats:
        return self.head_._probabilities(rows)
