"""Nearest neighbours, exact and through cells."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from cvgssl.features import graph


def groups(count: int, width: int = 24) -> NDArray[np.float32]:
    """Forty groups of unequal size, rows of length 1; the first ten rows are the same."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((40, width))
    shares = np.arange(1, 41) / np.arange(1, 41).sum()
    rows = centres[generator.choice(40, count, p=shares)]
    rows = rows + 0.5 * generator.standard_normal((count, width))
    rows[:10] = rows[0]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("width", [12, 100, 4 * 5 * graph.FOLD, 999, 1500])
def test_nearest_are_the_first_of_a_full_sort(width: int) -> None:
    rows = groups(width)[::-1].copy()
    query = rows[3:8]
    cosine, places = graph.nearest_neighbours(query, rows, 5, own=3)
    every = query @ rows.T
    every[np.arange(5), 3 + np.arange(5)] = -2
    np.testing.assert_allclose(cosine, -np.sort(-every, axis=1)[:, :5])
    np.testing.assert_array_equal(np.take_along_axis(every, places, axis=1), cosine)
    assert all(len(set(row)) == 5 for row in places)


@pytest.mark.parametrize(("looked_at", "recall"), [(3000, 1), (600, 0.95), (0, 0.2)])
def test_cells_find_the_neighbours(
    looked_at: int, recall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LOOKED_AT", looked_at)
    rows = groups(3000)
    cosine, places = graph._approximate(rows, 10)
    every = rows @ rows.T
    np.testing.assert_allclose(np.take_along_axis(every, places, axis=1), cosine, atol=1e-5)
    assert not (places == np.arange(3000)[:, None]).any(), "nobody is a neighbour of itself"
    assert all(len(set(row)) == 10 for row in places)
    least = graph._exact(rows, 10)[0][:, -1:]
    assert (cosine >= least - 1e-5).mean() >= recall


def test_a_large_graph_is_nearly_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = groups(2000)
    exact = graph.neighbour_graph(rows, 8)
    monkeypatch.setattr(graph, "EXACT", 100)
    monkeypatch.setattr(graph, "LOOKED_AT", 1000)
    found = graph.neighbour_graph(rows, 8)
    assert (found != found.T).nnz == 0
    assert abs(found - exact).sum() < 0.05 * exact.sum()


def test_edges_crossed_are_weighed() -> None:
    weights = sparse.csr_array(np.array([[0, 3, 0], [3, 0, 1], [0, 1, 0.0]]))
    assert graph.edges_crossed(weights, np.array([5, 5, 7])) == pytest.approx(0.25)
    assert graph.edges_crossed(weights, np.array([1, 1, 1])) == 0
    assert graph.edges_crossed(sparse.csr_array((2, 2)), np.array([0, 1])) == 0
