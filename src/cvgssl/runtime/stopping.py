"""SIGTERM as a request to stop at the next safe point."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Stopped(Exception):  # noqa: N818  (an outcome, not an error)
    """The work was asked to stop and has saved in `folder` what it needs to go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped; {folder} can be resumed")
        self.folder = folder


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Inside the block SIGTERM only sets a flag; gives a function that tells whether it came.

    In a thread other than the main one (where Python allows no handlers) it never comes.
    """
    came = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGTERM, before)
