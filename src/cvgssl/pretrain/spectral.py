"""What teachers say about all pictures together: a diffusion map of their embeddings.

Few-shot heads compare distances to a handful of pictures. A frozen encoder spends most of its
distances on light, scale and texture within a defect; the graph of nearest neighbours over the
unlabelled pictures knows better which of them belong together. Its diffusion map (Coifman & Lafon
2006) puts pictures close to each other between which many short steps lead. A student that
regresses it from pixels learns the map for pictures that are not in the graph.

Shape letters: N pictures, D width of their embeddings, E width of the map.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import lobpcg
from torch import Tensor
from torch.nn import functional as F

DENSE = 4000  # pictures up to which the graph is a dense matrix
CHUNK = 1024  # rows of the similarity matrix that are in memory at once


def joint_embedding(embeddings: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Embeddings of several teachers, [N, D_t] each, as one float32 [N, sum of D_t], length 1.

    Every teacher's are standardized and brought to length 1; squared distances then add up by
    weight.
    """
    parts = [
        F.normalize((one - one.mean(0)) / one.std(0).clamp_min(1e-6), dim=1) * weight**0.5
        for one, weight in zip(embeddings, weights, strict=True)
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)


def map_width(pictures: int, width: int = 64) -> int:
    """E: coordinates of the map of N pictures."""
    return min(width, pictures - 2)


def diffusion_map(embedding: Tensor, neighbours: int, time: float = 8.0, width: int = 64) -> Tensor:
    """Float32 [N, E] from embeddings [N, D] of length 1; E = map_width(N, width).

    Coordinates are lambda_e^time * psi_e with the eigenvectors psi_e of the random walk on the
    graph of `neighbours` nearest neighbours. Edge weights are exp(-d_ij^2 / (s_i s_j)), with s_i
    the distance to a middle neighbour (Zelnik-Manor & Perona 2004), so nothing depends on the
    scale of distances. The widest coordinate has standard deviation 1.
    """
    count = len(embedding)
    neighbours = min(neighbours, count - 1)
    weights = _graph(embedding, neighbours)
    degree = np.asarray(weights.sum(axis=1)).ravel()
    root = sparse.diags_array(1 / np.sqrt(degree))
    size = map_width(count, width) + 1
    values, vectors = _largest(root @ weights @ root, size)
    values = values.clip(0)
    coordinates = vectors / np.sqrt(degree)[:, None]
    # taking out the walk's resting place leaves nothing of the constant eigenvector
    coordinates -= (degree[:, None] * coordinates).sum(0) / degree.sum()
    spread = coordinates.std(axis=0)
    kept = np.argsort(spread < 1e-6, kind="stable")[: size - 1]
    coordinates = (coordinates * values**time)[:, kept]
    largest = np.abs(coordinates).argmax(axis=0)
    coordinates *= np.sign(coordinates[largest, np.arange(len(kept))])
    return torch.from_numpy(coordinates / coordinates.std(axis=0).max().clip(1e-12)).float()


def _largest(matrix: sparse.csr_array, count: int) -> tuple[NDArray[np.float64], ...]:
    """The largest eigenvalues of a symmetric matrix, falling, and their eigenvectors [N, count].

    A graph in pieces has the eigenvalue 1 once for each, which the usual Lanczos iteration finds
    only in part; small matrices are therefore made dense, large ones iterated as a block.
    """
    total = matrix.shape[0]
    if total <= DENSE:
        values, vectors = eigh(matrix.toarray(), subset_by_index=[total - count, total - 1])
    else:
        start = np.random.default_rng(0).standard_normal((total, count + 16))
        values, vectors = lobpcg(matrix, start, largest=True, maxiter=300, tol=1e-6)
    order = np.argsort(-values)[:count]
    return values[order], vectors[:, order]


def _graph(embedding: Tensor, neighbours: int) -> sparse.csr_array:
    """Symmetric edge weights, float64 [N, N], of those who are a nearest neighbour of the other."""
    count = len(embedding)
    found = [_nearest(embedding, start, neighbours) for start in range(0, count, CHUNK)]
    squared = np.concatenate([distances for distances, _ in found])
    columns = np.concatenate([places for _, places in found])
    scale = np.sqrt(squared[:, neighbours // 2]).clip(1e-6)
    values = np.exp(-squared / (scale[:, None] * scale[columns]))
    rows = np.repeat(np.arange(count), neighbours)
    one_way = sparse.csr_array(
        (values.ravel().clip(1e-12), (rows, columns.ravel())), shape=(count, count)
    )
    return one_way.maximum(one_way.T)


def _nearest(
    embedding: Tensor, start: int, neighbours: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Squared distances and places of the nearest others of rows start..start + CHUNK."""
    own = embedding[start : start + CHUNK]
    similarity = own @ embedding.T
    similarity[torch.arange(len(own)), torch.arange(start, start + len(own))] = -2
    cosine, places = similarity.topk(neighbours, dim=1)
    return (2 - 2 * cosine.double()).clamp_min(0).numpy(), places.numpy()
