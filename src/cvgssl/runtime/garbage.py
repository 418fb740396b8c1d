"""Python's search for garbage, kept short where it is called for again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Inside the block the collector looks only at what was made there.

    accelerate collects after every training, which among all objects of torch takes a few tenths
    of a second: more than a linear evaluation on stored features. Where the caller has frozen
    objects itself (`gc.freeze`), it stays at that.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
