"""Work on all pictures together, done once and shared by the draws that differ in labels only."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 8
BLOCK = 2**26  # bytes

T = TypeVar("T")
_made: "OrderedDict[Hashable, Any]" = OrderedDict()
_lock = Lock()


def digest(array: NDArray[Any]) -> Hashable:
    """An array's shape, type and hash of its content: the same within this process only."""
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    blocks = (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))
    # several times faster than hashlib's, which would take longer than a head's own work
    return (array.shape, array.dtype.str, *(hash(one.tobytes()) for one in blocks))


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
