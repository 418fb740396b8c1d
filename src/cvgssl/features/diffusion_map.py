"""Which pictures belong together: a diffusion map of the graph of nearest neighbours.

Few-shot heads compare distances to a handful of pictures. A frozen encoder spends most of its
distances on light, scale and texture within a defect; the graph of nearest neighbours over the
unlabelled pictures knows better which of them belong together. Its diffusion map (Coifman & Lafon
2006) puts pictures close to each other between which many short steps lead.

Shape letters: N pictures, D width of their embeddings, E width of the map.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, eigh
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.graph import neighbour_graph
from cvgssl.features.preparation import unit

LANDMARKS = 4000  # rows at most from which the map is learned as a function of features
CHUNK = 4096  # rows mapped at once
DENSE = 4000  # pictures up to which the graph is a dense matrix
SPARE, DEGREE, ROUNDS = 16, 8, 20  # of the block iteration for larger ones


class DiffusionMap(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Diffusion map of the rows of `fit`, learned as a smooth function of the features.

    The map itself has coordinates for the rows of `fit` only. Kernel ridge regression of these
    coordinates gives them to every other row, independently of the others.

    Parameters
    ----------
    neighbours : int, default=10
        Edges of each row in the graph.
    time : float, default=8.0
        Steps of the random walk: the power of its eigenvalues.
    width : int, default=64
        Coordinates at most.
    ridge : float, default=1e-5
        Of the regression, times the number of rows.

    Attributes
    ----------
    landmarks_ : ndarray of shape (n_landmarks, n_features)
        Rows of `fit`, scaled to length 1, 4000 at most.
    kernel_width_ : float
        Median squared distance between them; the kernel is exp(-|a - b|^2 / width).
    mean_ : ndarray of shape (n_coordinates,)
        Of the landmarks' coordinates.
    dual_ : ndarray of shape (n_landmarks, n_coordinates)
        Dual coefficients of the regression.

    References
    ----------
    Coifman & Lafon 2006 (Applied and Computational Harmonic Analysis 21), "Diffusion maps".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.features.diffusion_map import DiffusionMap
    >>> rows = np.random.default_rng(0).standard_normal((60, 8))
    >>> mapped = DiffusionMap(width=5).fit(rows).transform(rows[:3])
    >>> mapped.shape
    (3, 5)
    """

    def __init__(
        self, neighbours: int = 10, time: float = 8.0, width: int = 64, ridge: float = 1e-5
    ) -> None:
        self.neighbours = neighbours
        self.time = time
        self.width = width
        self.ridge = ridge

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803, ARG002
        """Learn the map from rows X [N, D], at least three; y is not used."""
        rows = unit(validate_data(self, X, dtype=np.float64, ensure_min_samples=3))
        coordinates = diffusion_map(rows, self.neighbours, self.time, self.width)
        order = np.random.default_rng(0).permutation(len(rows))[:LANDMARKS]
        self.landmarks_ = rows[np.sort(order)]
        kept = coordinates.astype(np.float64)[np.sort(order)]
        squared = 2 - 2 * self.landmarks_ @ self.landmarks_.T
        self.kernel_width_ = max(float(np.median(squared)), 1e-6)
        self.mean_ = kept.mean(axis=0)
        # scikit-learn's KernelRidge(kernel="precomputed") has the same coefficients, but takes
        # twice the time, of which this is most
        matrix = self._kernel(self.landmarks_)
        matrix[np.diag_indices(len(matrix))] += self.ridge * len(matrix)
        self.dual_ = cho_solve(cho_factor(matrix), kept - self.mean_)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Coordinates [M, E] of rows X [M, D], scaled to length 1."""
        check_is_fitted(self)
        rows = unit(validate_data(self, X, dtype=np.float64, reset=False))
        chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
        return unit(
            np.concatenate([self._kernel(chunk) @ self.dual_ + self.mean_ for chunk in chunks])
        )

    def _kernel(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel: NDArray[np.float64] = np.exp(
            (2 * rows @ self.landmarks_.T - 2) / self.kernel_width_
        )
        return kernel


def map_width(pictures: int, width: int = 64) -> int:
    """E: coordinates of the map of N pictures."""
    return min(width, pictures - 2)


def diffusion_map(
    rows: NDArray[np.floating[Any]], neighbours: int = 10, time: float = 8.0, width: int = 64
) -> NDArray[np.float32]:
    """Float32 [N, E] from rows [N, D] of length 1; E = map_width(N, width).

    Coordinates are lambda_e^time * psi_e with the eigenvectors psi_e of the random walk on the
    graph of `neighbours` nearest neighbours. Edge weights are exp(-d_ij^2 / (s_i s_j)), with s_i
    the distance to a middle neighbour (Zelnik-Manor & Perona 2004), so nothing depends on the
    scale of distances. The widest coordinate has standard deviation 1.
    """
    count = len(rows)
    neighbours = min(neighbours, count - 1)
    weights = neighbour_graph(rows, neighbours)
    degree = np.asarray(weights.sum(axis=1)).ravel()
    root = sparse.diags_array(1 / np.sqrt(degree))
    size = map_width(count, width) + 1
    values, vectors = _largest(root @ weights @ root, size)
    values = values.clip(0)
    coordinates = vectors / np.sqrt(degree)[:, None]
    # subtracting the stationary mean leaves nothing of the constant eigenvector
    coordinates -= (degree[:, None] * coordinates).sum(0) / degree.sum()
    constant = coordinates.std(axis=0) < 1e-6
    kept = np.argsort(constant, kind="stable")[: size - 1]
    coordinates = (coordinates * values**time)[:, kept]
    largest = np.abs(coordinates).argmax(axis=0)
    coordinates *= np.sign(coordinates[largest, np.arange(len(kept))])
    scaled = coordinates / coordinates.std(axis=0).max().clip(1e-12)
    single: NDArray[np.float32] = scaled.astype(np.float32)
    return single


def _largest(matrix: sparse.csr_array, count: int) -> tuple[NDArray[np.float64], ...]:
    """The largest eigenvalues of a symmetric matrix, falling, and their eigenvectors [N, count].

    Eigenvalues are in -1..1. A graph in pieces has the eigenvalue 1 once for each, which Lanczos
    iteration finds only in part; small matrices are therefore made dense, large ones iterated as a
    block.
    """
    total = matrix.shape[0]
    if total <= DENSE:
        values, vectors = eigh(matrix.toarray(), subset_by_index=[total - count, total - 1])
        order = np.argsort(-values)[:count]
        return values[order], vectors[:, order]
    return _filtered(matrix, count)


def _filtered(matrix: sparse.csr_array, count: int) -> tuple[NDArray[np.float64], ...]:
    """Like `_largest`, by subspace iteration with a Chebyshev filter.

    Zhou, Saad, Tiago & Chelikowsky 2006 (J. Comput. Phys. 219), "Self-consistent-field
    calculations using Chebyshev-filtered subspace iteration". Nothing in it depends on gaps between
    the wanted eigenvalues, so pieces of a graph do no harm. Ends when none changes by 1e-4.
    """
    total = matrix.shape[0]
    start = np.random.default_rng(0).standard_normal((total, min(count + SPARE, total)))
    block, low, before = np.linalg.qr(start)[0], 0.0, np.full(count, np.inf)
    for _ in range(ROUNDS):
        # a polynomial that is small on -1..low, the spectrum that is not wanted, and grows above
        middle, half = (low - 1) / 2, (low + 1) / 2
        last, now = block, (matrix @ block - middle * block) / half
        for _ in range(DEGREE - 1):
            last, now = now, 2 / half * (matrix @ now - middle * now) - last
        block = np.linalg.qr(now)[0]
        values, turn = eigh(block.T @ (matrix @ block))
        values, block = values[::-1], block @ turn[:, ::-1]
        if np.abs(values[:count] - before).max() < 1e-4:
            break
        before, low = values[:count], float(np.clip(values[-1], 0, 0.999))
    return values[:count], block[:, :count]
