"""Pictures on a plane: kinds that lie apart do so there, those that t-SNE does not place too."""

import numpy as np
import pytest

from cvgssl.features.plane import plane


def kinds(each: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = np.tile(np.arange(3), each)
    rows = 4 * np.eye(10)[kind] + 0.5 * rng.normal(size=(3 * each, 10))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), kind


@pytest.mark.parametrize("most", [1000, 50])
def test_kinds_lie_apart(most: int) -> None:
    rows, kind = kinds(40)
    places = plane(rows, most)
    assert places.shape == (120, 2) and places.dtype == np.float32
    assert places.min(axis=0) == pytest.approx(0) and places.max(axis=0) == pytest.approx(1)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (kind[distance.argmin(axis=1)] == kind).all()
    assert np.array_equal(places, plane(rows, most))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_few_pictures(count: int) -> None:
    rows, _ = kinds(2)
    places = plane(rows[:count])
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_copies_have_one_place() -> None:
    rows = np.repeat(kinds(1)[0][:1], 30, axis=0)
    assert np.isfinite(plane(rows, 10)).all()
