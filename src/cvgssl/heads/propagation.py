"""Label propagation on the sparse graph of all pictures, labelled or not."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvgssl.features.graph import edge_weights, local_scale, nearest_neighbours, neighbour_graph
from cvgssl.features.graph_cache import cached
from cvgssl.heads.base import FewShotHead, Floats, one_hot, unit

DENSE = 4000  # pictures up to which one inverse serves all draws
STEPS = 100  # of the iteration otherwise
CHUNK = 4096


class LabelPropagation(FewShotHead):
    """Labels spread along the edges of the neighbour graph.

    The distributions of all rows are (1 - alpha) (I - alpha S)^-1 Y, with S the symmetrically
    normalised weights and Y one-hot, every class with the same total. A new row takes the mean of
    its nearest rows' distributions by edge weight, so it is classified independently.

    Parameters
    ----------
    neighbours : int, default=10
        Edges of each row.
    alpha : float, default=0.95
        Share of a row that comes from its neighbours, 0..1.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples, n_features)
        Of `fit`, scaled to length 1, float32.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the rows of `fit`.

    References
    ----------
    Zhou, Bousquet, Lal, Weston & Schölkopf 2004 (NeurIPS), "Learning with local and global
    consistency".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.propagation import LabelPropagation
    >>> truth = np.arange(60) % 3
    >>> rows = np.eye(8)[truth] + 0.1 * np.random.default_rng(0).standard_normal((60, 8))
    >>> one_label_each = np.where(np.arange(60) < 3, truth, -1)
    >>> head = LabelPropagation().fit(rows, one_label_each)
    >>> float((head.transduction_ == truth).mean())
    1.0
    >>> head.predict(np.eye(8)[:3])
    array([0, 1, 2])
    """

    uses_unlabelled = True

    def __init__(self, neighbours: int = 10, alpha: float = 0.95) -> None:
        self.neighbours = neighbours
        self.alpha = alpha

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.rows_ = unit(features).astype(np.float32)
        start = one_hot(target, len(self.classes_))
        start = start / start.sum(axis=0)
        options = (self.neighbours, self.alpha)
        if len(self.rows_) <= DENSE:
            labelled = np.flatnonzero(
                target >= 0
            )  # the inverse is symmetric, other rows start at 0
            inverse = cached(self._inverse, "inverse", self.rows_, *options)
            propagated: Floats = inverse[labelled].T @ start[labelled]
        else:
            walk = cached(self._normalised, "walk", self.rows_, *options)
            propagated = _iterate(walk, start, self.alpha)
        self.label_distributions_ = _distributions(propagated)

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
            cosine, places = nearest_neighbours(query[at : at + CHUNK], self.rows_, count)
            weights = edge_weights(cosine, np.square(local_scale(cosine))[:, None])
            mixed = np.einsum("mg,mgk->mk", weights, self.label_distributions_[places])
            parts.append(mixed / mixed.sum(axis=1, keepdims=True))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes_)))


def _iterate(walk: sparse.csr_array, start: Floats, alpha: float) -> Floats:
    propagated: Floats = start
    for _ in range(STEPS):
        propagated = alpha * (walk @ propagated) + (1 - alpha) * start
    return propagated


def _distributions(propagated: Floats) -> Floats:
    """Rows to sum 1; those that no label reaches are uniform."""
    propagated = propagated.clip(0)
    total = propagated.sum(axis=1, keepdims=True)
    reached = total > 1e-300
    return np.where(reached, propagated / np.where(reached, total, 1), 1 / propagated.shape[1])
