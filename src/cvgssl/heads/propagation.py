"""Label propagation on the sparse graph of all pictures, labelled or not."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvgssl.features.graph import (
    digest,
    edge_weights,
    local_scale,
    nearest,
    neighbour_graph,
    remembered,
)
from cvgssl.heads.base import FewShotHead, Floats, one_hot, unit

DENSE = 4000  # pictures up to which one inverse serves all draws
STEPS = 100  # of the iteration otherwise
CHUNK = 4096


class LabelPropagation(FewShotHead):
    """Labels spread along the edges of the graph (Zhou et al. 2004).

    The distributions of all rows are (1 - alpha) (I - alpha S)^-1 Y, with S the symmetrically
    normalised weights and Y one-hot, every class with the same total. A new row takes the mean of
    its nearest rows' distributions by edge weight, so it is classified by itself.

    neighbours: edges of each row. alpha: share of a row that comes from its neighbours, 0..1.
    label_distributions_: probabilities [N, K] of the rows of `fit`.
    """

    uses_unlabelled = True

    def __init__(self, neighbours: int = 10, alpha: float = 0.95) -> None:
        self.neighbours = neighbours
        self.alpha = alpha

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.rows_ = unit(features).astype(np.float32)
        start = one_hot(target, len(self.classes_))
        start = start / start.sum(axis=0)
        key = (digest(self.rows_), self.neighbours, self.alpha)
        if len(self.rows_) <= DENSE:
            known = np.flatnonzero(target >= 0)  # the inverse is symmetric, other rows start at 0
            inverse = remembered(("inverse", *key), self._inverse)
            spread: Floats = inverse[known].T @ start[known]
        else:
            spread = _iterate(remembered(("walk", *key), self._normalised), start, self.alpha)
        self.label_distributions_ = _distributions(spread)

    def _normalised(self) -> sparse.csr_array:
        weights = neighbour_graph(self.rows_, self.neighbours)
        root = sparse.diags_array(1 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel().clip(1e-12)))
        return sparse.csr_array(root @ weights @ root)

    def _inverse(self) -> Floats:
        matrix = np.eye(len(self.rows_)) - self.alpha * self._normalised().toarray()
        inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
        return inverse

    def _probabilities(self, features: Floats) -> Floats:
        query = unit(features).astype(np.float32)
        count = min(self.neighbours, len(self.rows_))
        parts = []
        for at in range(0, len(query), CHUNK):
            cosine, places = nearest(query[at : at + CHUNK], self.rows_, count)
            weights = edge_weights(cosine, np.square(local_scale(cosine))[:, None])
            mixed = np.einsum("mg,mgk->mk", weights, self.label_distributions_[places])
            parts.append(mixed / mixed.sum(axis=1, keepdims=True))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes_)))


def _iterate(walk: sparse.csr_array, start: Floats, alpha: float) -> Floats:
    spread: Floats = start
    for _ in range(STEPS):
        spread = alpha * (walk @ spread) + (1 - alpha) * start
    return spread


def _distributions(spread: Floats) -> Floats:
    """Rows to sum 1; those that no label reaches say nothing."""
    spread = spread.clip(0)
    total = spread.sum(axis=1, keepdims=True)
    return np.where(
        total > 1e-300, spread / np.where(total > 1e-300, total, 1), 1 / spread.shape[1]
    )
