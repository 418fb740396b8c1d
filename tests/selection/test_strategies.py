from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from cvgssl.selection import strategies
from cvgssl.selection.candidates import Candidates, cluster
from cvgssl.selection.config import StrategyName
from cvgssl.selection.strategies import STRATEGIES, coreset, medoids, probcover, typiclust

MakeCandidates = Callable[..., tuple[Candidates, NDArray[np.int64]]]
SIZES = (60, 40, 25, 15)


def test_the_options_name_all_of_them() -> None:
    """They are named apart, as they take sklearn to import."""
    assert get_args(StrategyName) == tuple(STRATEGIES)


every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@every_strategy
@pytest.mark.parametrize("budget", [1, 4, 30, 139])
def test_a_choice_is_as_large_as_asked_open_different_and_repeatable(
    name: str, budget: int, blobs: MakeCandidates
) -> None:
    candidates, _ = blobs(SIZES, labelled=[5])
    picked = STRATEGIES[name](candidates, budget, 3)
    assert len(picked.order) == len(picked.scores) == len(set(picked.order.tolist())) == budget
    assert not candidates.closed[picked.order].any()
    assert np.isfinite(picked.scores).all()
    again = STRATEGIES[name](candidates, budget, 3)
    assert again.order.tolist() == picked.order.tolist()
    assert again.scores.tolist() == picked.scores.tolist()


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_four_pictures_find_four_groups_of_unequal_size(name: str, blobs: MakeCandidates) -> None:
    for seed in range(3):
        candidates, truth = blobs(SIZES, seed=seed)
        assert sorted(truth[STRATEGIES[name](candidates, 4, seed).order]) == [0, 1, 2, 3]


def test_chance_misses_groups(blobs: MakeCandidates) -> None:
    candidates, truth = blobs(SIZES)
    found = [len(set(truth[STRATEGIES["random"](candidates, 4, seed).order])) for seed in range(30)]
    assert 1.5 < np.mean(found) < 3.5


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_what_is_labelled_needs_no_other_like_it(name: str, blobs: MakeCandidates) -> None:
    candidates, truth = blobs(SIZES, labelled=[0, 70])  # of groups 0 and 1
    assert sorted(truth[STRATEGIES[name](candidates, 2, 0).order]) == [2, 3]


@every_strategy
def test_equal_pictures_do_not_matter(name: str) -> None:
    row = np.zeros((1, 8), dtype=np.float32)
    row[0, 0] = 1
    rows = np.concatenate([np.repeat(row, 30, axis=0), np.repeat(row[:, ::-1], 10, axis=0)])
    candidates = Candidates(rows, np.full(40, -1), np.zeros(40, dtype=bool))
    order = STRATEGIES[name](candidates, 25, 0).order.tolist()
    assert len(set(order)) == 25
    if name != "random":
        assert {place < 30 for place in order[:2]} == {True, False}


@every_strategy
def test_pools_too_small_for_a_graph(name: str) -> None:
    for count in (1, 2, 5):
        rows = np.eye(8, dtype=np.float32)[:count]
        candidates = Candidates(rows, np.full(count, -1), np.zeros(count, dtype=bool))
        assert sorted(STRATEGIES[name](candidates, count, 0).order) == list(range(count))


def test_coreset_is_farthest_first() -> None:
    angle = np.array([0.0, 0.1, 1.0, 3.1, 2.0])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    labels = np.array([0, -1, -1, -1, -1])
    picked = coreset(Candidates(rows, labels, labels >= 0), 4, 0)
    # from 0: 3.1 is farthest; then 2.0 (1.1 off) before 1.0 (1.0 off); by itself 0.1
    assert picked.order.tolist() == [3, 4, 2, 1]
    np.testing.assert_allclose(picked.scores, 2 * np.sin(np.array([3.1, 1.1, 1.0, 0.1]) / 2), 1e-4)


def test_typiclust_takes_the_most_typical_of_the_largest_cluster_first(
    blobs: MakeCandidates,
) -> None:
    candidates, truth = blobs(SIZES, spread=0.15)
    picked = typiclust(candidates, 4, 0)
    assert truth[picked.order].tolist() == [0, 1, 2, 3]  # groups are sorted by size
    for row, score in zip(picked.order, picked.scores, strict=True):
        own = candidates.rows[truth == truth[row]].astype(np.float64)
        near = min(20, len(own) - 1)
        distances = np.sort(np.linalg.norm(own[:, None] - own[None], axis=2), axis=1)
        typicality = 1 / distances[:, 1 : near + 1].mean(axis=1)
        assert score == pytest.approx(typicality.max(), rel=1e-3)


def test_probcover_covers_the_dense_group_first_and_says_how_much(blobs: MakeCandidates) -> None:
    candidates, truth = blobs((50, 30, 20), spread=0.02)
    picked = probcover(candidates, 3, 0)
    assert truth[picked.order].tolist() == [0, 1, 2]
    # of the balls 5 % may hold a picture of another group
    assert picked.scores.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.04)


def test_medoids_follow_the_graph_where_k_means_cuts_it() -> None:
    """A long group of 200 pictures beside one of 100: k-means in space cuts both across."""
    right = {"map": 0, "space": 0}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        group = np.repeat([0, 1], [200, 100])
        rows = 0.15 * rng.normal(size=(300, 9))
        rows[:, 0] = rng.uniform(-1, 1, 300)
        rows[:, 1] += np.where(group, 0.5, -0.5)
        rows[:, 8] = 2
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        candidates = Candidates(
            rows.astype(np.float32), np.full(300, -1), np.zeros(300, dtype=bool)
        )
        right["map"] += group[medoids(candidates, 2, seed).order].tolist() == [0, 1]
        codes = cluster(candidates.rows, 2, seed)
        right["space"] += (codes == group).mean() in (0, 1)
    assert right["map"] >= 4
    assert right["space"] == 0


def test_with_labels_medoids_go_where_classes_meet(blobs: MakeCandidates) -> None:
    """Two groups run into each other, two are apart; all have a label."""
    rng = np.random.default_rng(1)
    apart, truth = blobs((40, 40, 60, 60), spread=0.05)
    rows = apart.rows.copy()
    share = rng.uniform(0, 1, 120)[:, None].astype(np.float32)
    one, other = rows[truth == 2].mean(axis=0), rows[truth == 3].mean(axis=0)
    noise = 0.03 * rng.normal(size=(120, 16)).astype(np.float32)
    rows[80:] = (1 - share) * one + share * other + noise
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ends = 80 + np.array([share[:, 0].argmin(), share[:, 0].argmax()])
    labels = np.full(200, -1)
    labels[[0, 40, *ends]] = [0, 1, 2, 3]
    picked = medoids(Candidates(rows, labels, labels >= 0), 3, 0)
    assert (picked.order >= 80).all()
    assert 0.2 < share[picked.order[0] - 80, 0] < 0.8
    assert picked.scores[0] == picked.scores.max()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("medoids", (3600, 1200, 500)),
        ("typiclust", (4700, 200, 100)),
        ("probcover", (6000, 2000, 1200, 900)),
    ],
)
def test_a_large_pool_is_sampled_and_still_covered(
    name: str, sizes: tuple[int, ...], blobs: MakeCandidates
) -> None:
    candidates, truth = blobs(sizes, spread=0.05, labelled=[0])
    picked = STRATEGIES[name](candidates, 3, 0)
    assert len(set(picked.order.tolist())) == 3
    assert not candidates.closed[picked.order].any()
    assert set(truth[picked.order]) >= {1, 2}


def test_neighbours_in_a_sample_are_others_for_all_rows(
    blobs: MakeCandidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "AMONG", 50)
    rows = blobs((90, 60))[0].rows
    wanted = []
    for place, row in enumerate(rows):
        others = np.arange(0, 150, 3)
        distances = np.linalg.norm(rows[others[others != place]] - row, axis=1)
        wanted.append(np.sort(distances)[:5].mean())
    np.testing.assert_allclose(strategies._mean_distance(rows, 5), wanted, rtol=1e-3)
