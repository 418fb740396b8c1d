"""How much memory all threads together may use for reading pictures."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_FEW = 2**20


class Memory:
    """A semaphore of `size` bytes; what needs more than all of it waits until it has all.

    free: bytes that nobody holds.
    """

    def __init__(self, size: int) -> None:
        self._size = self.free = size
        self._changed = threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait for `size` bytes and keep them during the block; a few count as none."""
        if size < _FEW:
            yield
            return
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self.free >= size)
            self.free -= size
        try:
            yield
        finally:
            with self._changed:
                self.free += size
                self._changed.notify_all()


# A thread takes of the first, then of the second, never the other way round: no two wait for
# each other.
FILES = Memory(2**30)
DECODING = Memory(2**31)
