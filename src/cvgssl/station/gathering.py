"""Pictures of many requests, recognized together by one thread.

A picture is taken or refused at once: what waits never grows beyond a stated number.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.recognizer.predict import Recognizing

R = TypeVar("R")

_RECENT = 0.2  # share of the newest batch in the running mean
_MOST_BYTES = 2**30  # of decoded pictures that wait, where recognizers take them whole


class BusyError(Exception):
    """As many pictures wait as may; `retry_after`: seconds until about half of them are done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Said:
    """Of one picture. probabilities: float32 [K]. verdict: None where there are none."""

    probabilities: NDArray[np.float32]
    verdict: str | None


@dataclass
class _Asked:
    """squares: one for each geometry of the recognizer."""

    recognizer: Recognizing
    squares: Sequence[Square]
    said: Future[Said] = field(default_factory=Future)


@dataclass
class _Work:
    """Something else for the thread that recognizes."""

    work: Callable[[], Any]
    done: Future[Any] = field(default_factory=Future)

    def __call__(self) -> None:
        if self.done.set_running_or_notify_cancel():
            try:
                self.done.set_result(self.work())
            except BaseException as error:
                self.done.set_exception(error)


class _End:
    """Of the thread."""


class Gatherer:
    """The thread that recognizes, and how many pictures wait for it.

    most: pictures that are taken at once. batch: most that are recognized together.
    wait: seconds that a picture may wait for others while nothing else is at work.
    """

    def __init__(self, most: int, batch: int, wait: float) -> None:
        self._most, self._batch, self._wait = most, batch, wait
        self._waiting: queue.Queue[_Asked | _Work | _End] = queue.Queue()
        self._lock = threading.Lock()
        self.taken = 0
        self._bytes = 0
        self.on_batch: Callable[[int], object] = lambda _: None  # gets their sizes
        self._seconds = 0.0  # a picture takes, running mean
        self._thread = threading.Thread(target=self._work, name="recognizer", daemon=True)
        self._thread.start()

    @contextmanager
    def place_for(self, pictures: int) -> Iterator[None]:
        """Room for so many pictures during the block; raises BusyError."""
        with self._lock:
            if self.taken + pictures > self._most:
                raise self._busy()
            self.taken += pictures
        try:
            yield
        finally:
            with self._lock:
                self.taken -= pictures

    def ask(self, recognizer: Recognizing, squares: Sequence[Square]) -> "Future[Said]":
        """What is said of a picture, in its time; inside `place_for`. Raises BusyError."""
        asked = _Asked(recognizer, squares)
        size = sum(square.pixels.nbytes for square in squares if square.pixels is not None)
        with self._lock:
            if self._bytes and self._bytes + size > _MOST_BYTES:
                raise self._busy()
            self._bytes += size

        def let_go(_: Future[Said]) -> None:
            with self._lock:
                self._bytes -= size

        asked.said.add_done_callback(let_go)
        self._waiting.put(asked)
        return asked.said

    def between(self, work: Callable[[], R]) -> "Future[R]":
        """Have the thread do something else between two batches.

        A recognizer is for one thread at a time, so whatever else uses it comes here; short.
        """
        asked = _Work(work)
        self._waiting.put(asked)
        return asked.done

    def _busy(self) -> BusyError:
        return BusyError(max(1, math.ceil(self.taken * self._seconds / 2)))

    def close(self) -> None:
        """Finish what was asked, then end the thread."""
        self._waiting.put(_End())
        self._thread.join()

    def _work(self) -> None:
        while not isinstance(first := self._waiting.get(), _End):
            if isinstance(first, _Work):
                first()
                continue
            asked, then = self._gathered(first)
            begun = time.monotonic()
            # of a change of the live version both may be asked for
            for recognizer in {id(each.recognizer): each.recognizer for each in asked}.values():
                _answer(recognizer, [each for each in asked if each.recognizer is recognizer])
            seconds = (time.monotonic() - begun) / len(asked)
            self._seconds += _RECENT * (seconds - self._seconds)
            self.on_batch(len(asked))
            if isinstance(then, _Work):
                then()
            elif isinstance(then, _End):
                return

    def _gathered(self, first: _Asked) -> "tuple[list[_Asked], _Work | _End | None]":
        """The first and what comes within the wait; what else came, which ends the wait."""
        asked, until = [first], time.monotonic() + self._wait
        while len(asked) < self._batch:
            try:
                each = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if not isinstance(each, _Asked):
                return asked, each
            asked.append(each)
        return asked, None


def _answer(recognizer: Recognizing, asked: Sequence[_Asked]) -> None:
    """Give every picture what is said of it, or the error."""
    going = [each for each in asked if each.said.set_running_or_notify_cancel()]
    if not going:
        return
    try:
        by_geometry = [list(each) for each in zip(*(one.squares for one in going), strict=True)]
        for each, probabilities, verdict in zip(going, *recognizer(by_geometry), strict=True):
            each.said.set_result(Said(probabilities, verdict))
    except BaseException as error:
        for each in going:
            if not each.said.done():
                each.said.set_exception(error)
