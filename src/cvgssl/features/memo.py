"""Work on all pictures together, done once and shared by the draws that differ in labels only."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 8

T = TypeVar("T")
_made: "OrderedDict[Hashable, Any]" = OrderedDict()
_lock = Lock()


def digest(array: NDArray[Any]) -> str:
    """A short hash of an array's shape and content."""
    whole = np.ascontiguousarray(array)
    return hashlib.blake2b(
        whole.data.cast("B"), digest_size=16, key=str((whole.shape, whole.dtype)).encode()
    ).hexdigest()


def remembered(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gave for this key, kept for the few keys last asked for."""
    with _lock:
        if key in _made:
            _made.move_to_end(key)
            kept: T = _made[key]
            return kept
    value = make()
    with _lock:
        _made[key] = value
        while len(_made) > REMEMBERED:
            _made.popitem(last=False)
    return value
