"""Products of few rows by one thread.

Several threads gain little there, and each waits for the slowest by spinning, which takes ten times
as long where others use the cores, such as those that decode.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_lock = threading.RLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS has one thread during the block, which one thread is in at a time; for short work.

    The number belongs to the process, and threadpoolctl lets one thread at a time set it: what
    another one asks for meanwhile it passes over in silence.
    """
    with _lock, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    """It looks for the libraries, which takes milliseconds."""
    return ThreadpoolController()
