"""The cache of graphs: what it keeps, for how long, and how much."""

import gc
import weakref

import numpy as np
import pytest
from scipy import sparse

from cvgssl.features.graph_cache import GraphCache, cached, digest, graph_cache, size_of

ROWS = np.random.default_rng(0).standard_normal((60, 24)).astype(np.float32)


class Made:
    """Something with a field of 1000 bytes."""

    def __init__(self) -> None:
        self.field = np.zeros(1000, np.uint8)


def test_equal_arrays_are_found_again_and_others_told_apart() -> None:
    changed = ROWS.copy()
    changed[-1, -1] += 1e-6
    same = [ROWS, ROWS.copy(), np.asfortranarray(ROWS)]
    others = [changed, -ROWS, ROWS[:-1], ROWS.T, ROWS.reshape(30, -1), ROWS.view(np.int32)]
    assert len({digest(one) for one in same}) == 1
    assert len({digest(one) for one in [ROWS, *others]}) == 7
    with GraphCache():
        made = [cached(object, "test", one) for one in same]
        assert made[0] is made[1] is made[2]
        assert cached(object, "test", changed) is not made[0]
        assert cached(object, "another test", ROWS) is not made[0]


def test_nothing_is_kept_without_a_cache_or_after_it() -> None:
    assert cached(object, ROWS) is not cached(object, ROWS)
    with graph_cache():
        made = cached(Made, ROWS)
        with graph_cache():  # the one that is open
            assert cached(Made, ROWS) is made
        assert cached(Made, ROWS) is made
        kept = weakref.ref(made)
    del made
    gc.collect()
    assert kept() is None
    assert cached(object, ROWS) is not cached(object, ROWS)


def test_it_is_bounded_in_bytes_and_drops_what_was_not_used_for_longest() -> None:
    with GraphCache(2500) as cache:
        first, second = cached(Made, 1), cached(Made, 2)
        assert (len(cache), cache.nbytes) == (2, 2000)
        assert cached(Made, 1) is first
        cached(Made, 3)
        assert (len(cache), cache.nbytes) == (2, 2000)
        assert cached(Made, 1) is first
        assert cached(Made, 2) is not second
        large = cached(lambda: np.zeros(2501, np.uint8), 4)
        assert len(large) == 2501 and cache.nbytes <= 2500
        assert cached(lambda: np.ones(2501, np.uint8), 4)[0] == 1, "too large to be kept"
        cache.clear()
        assert (len(cache), cache.nbytes) == (0, 0)


def test_an_error_closes_it() -> None:
    with pytest.raises(ZeroDivisionError), GraphCache():
        cached(lambda: 1 / 0, ROWS)
    assert cached(object, ROWS) is not cached(object, ROWS)


def test_sizes() -> None:
    graph = sparse.csr_array(np.eye(10))
    assert size_of(np.zeros((3, 4))) == 96
    assert size_of(graph) == graph.data.nbytes + graph.indices.nbytes + graph.indptr.nbytes
    assert size_of((Made(), np.zeros(1), "text")) == 1008
