from collections import Counter

import numpy as np
import pytest
from clouds import clouds

from cvgssl.bench.recorded import balanced_queries, dirichlet_queries


def counts(names: list[str]) -> Counter[str]:
    return Counter(name.split("/")[1] for name in names)


def test_balanced_queries_have_as_many_of_each_class() -> None:
    test = clouds().split("test")
    queries = balanced_queries(test, 5, seed=0)
    assert all(set(counts(names).values()) == {4} and len(names) == 12 for names in queries)
    assert len({tuple(names) for names in queries}) > 1, "larger classes are drawn again"
    assert queries == balanced_queries(test, 5, seed=0)
    assert queries != balanced_queries(test, 5, seed=1)


def test_dirichlet_shares_have_the_mean_and_spread_of_the_distribution() -> None:
    test = clouds(test=(400, 400, 400)).split("test")
    queries = dirichlet_queries(test, 400, seed=0, alpha=2.0, per_class=100)
    shares = np.array([[counts(names)[c] for c in test.classes] for names in queries]) / 300
    assert shares.mean(axis=0) == pytest.approx(1 / 3, abs=0.03)
    # variance of Dirichlet(2, 2, 2): 2 * 4 / (6 * 6 * 7)
    assert shares.std(axis=0) == pytest.approx((8 / 252) ** 0.5, abs=0.02)
    assert {len(names) for names in queries} == {300}


def test_a_small_class_limits_the_number_and_not_the_shares() -> None:
    table = clouds(test=(60, 60, 6)).split("test")
    full = dirichlet_queries(
        clouds(test=(60, 60, 60)).split("test"), 50, seed=3, alpha=2.0, per_class=15
    )
    few = dirichlet_queries(table, 50, seed=3, alpha=2.0, per_class=15)
    for large, small in zip(full, few, strict=True):
        assert counts(small)["scratch"] <= 6
        expected = np.array([counts(large)[c] for c in table.classes]) / len(large)
        got = np.array([counts(small)[c] for c in table.classes]) / len(small)
        assert got == pytest.approx(expected, abs=1 / len(small) + 1 / len(large))
    assert any(len(small) < len(large) for large, small in zip(full, few, strict=True))


def test_a_picture_is_asked_once_and_never_without_a_label() -> None:
    table = clouds()
    labels = table.labels.copy()
    labels[-1] = -1
    test = type(table)(table.values, table.names, labels, table.splits, table.classes).split("test")
    for names in dirichlet_queries(test, 20, 0, 2.0, 15) + balanced_queries(test, 20, 0):
        assert len(set(names)) == len(names) >= 1
        assert test.names[-1] not in names
