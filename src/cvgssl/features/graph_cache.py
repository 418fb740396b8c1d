"""A bounded cache for results that depend on the features only: graphs, maps, inverses.

Several heads, or one head with several choices of labels, fitted to the same rows need the same
graph. Whoever runs them opens a cache; without one nothing is kept:

    with GraphCache(2**28):
        for target in draws:
            head.fit(rows, target)
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from threading import Lock
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BYTES = 2**28  # that a cache holds if nothing else is said
BLOCK = 2**26  # bytes hashed at once

T = TypeVar("T")


class GraphCache:
    """Values by key, the longest unused dropped first; a context in which `cached` uses it.

    Parameters
    ----------
    max_bytes : int
        Size of all values together. A larger value is returned and not kept.

    Attributes
    ----------
    nbytes : int
        Size of the values kept now.
    """

    def __init__(self, max_bytes: int = BYTES) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        self._tokens: list[Token[GraphCache | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_ACTIVE.set(self))
        return self

    def __exit__(self, *error: object) -> None:
        _ACTIVE.reset(self._tokens.pop())

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of this key, made by `make` where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                kept: T = self._values[key][0]
                return kept
        value = make()
        size = size_of(value)
        with self._lock:
            if key not in self._values and size <= self.max_bytes:
                self._values[key] = (value, size)
                self.nbytes += size
            while self.nbytes > self.max_bytes:
                self.nbytes -= self._values.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()
            self.nbytes = 0


_ACTIVE: ContextVar[GraphCache | None] = ContextVar("cvgssl_graph_cache", default=None)


@contextmanager
def graph_cache() -> Iterator[GraphCache]:
    """The open cache, else a new one that lasts as long as this context."""
    active = _ACTIVE.get()
    if active is not None:
        yield active
        return
    with GraphCache() as cache:
        yield cache


def cached(make: Callable[[], T], *key: Hashable | NDArray[Any]) -> T:
    """What `make` gives, from the open cache where there is one; arrays count by their content."""
    cache = _ACTIVE.get()
    if cache is None:
        return make()
    parts = (digest(part) if isinstance(part, np.ndarray) else part for part in key)
    return cache.get(tuple(parts), make)


def digest(array: NDArray[Any]) -> Hashable:
    """An array's shape, type and hash of its content: the same within this process only."""
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    blocks = (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))
    # several times faster than hashlib's, which would take longer than a head's own work
    return (array.shape, array.dtype.str, *(hash(block.tobytes()) for block in blocks))


def size_of(value: object) -> int:
    """Bytes of an array or a sparse array, of several, or of those in an object's fields."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if sparse.issparse(value):
        return sum(size_of(getattr(value, name)) for name in ("data", "indices", "indptr"))
    if isinstance(value, tuple | list):
        return sum(map(size_of, value))
    return sum(map(size_of, vars(value).values())) if hasattr(value, "__dict__") else 0
