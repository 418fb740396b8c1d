"""Pictures of many requests, recognized together by one thread.

Some come with their embedding, and only the head is asked about them.
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.nearest import Nearest
from cvgssl.recognizer.predict import Neighbour, Recognizing

_RECENT = 0.2  # share of the newest request in the running mean
_MOST_BYTES = 2**30  # of decoded pictures that wait, where recognizers take them whole


class BusyError(Exception):
    """As many pictures wait as may; `retry_after`: seconds until about half of them are done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@dataclass(frozen=True)
class RecognizedPicture:
    """Of one picture. probabilities: float32 [K]. verdict: None where there are none.

    nearest: labelled pictures, by who names them.
    """

    probabilities: NDArray[np.float32]
    verdict: str | None
    nearest: tuple[Neighbour, ...] = ()


@dataclass
class _Asked:
    """squares: one for each geometry of the recognizer. embedding: see `Gatherer.ask`."""

    recognizer: Recognizing | Nearest
    squares: Sequence[Square]
    embedding: NDArray[np.float32] | None
    answer: Future[RecognizedPicture] = field(default_factory=Future)


class Gatherer:
    """The thread that recognizes, and how many pictures wait for it.

    most: pictures that are taken at once. batch: most that are recognized together.
    wait: seconds that a picture may wait for others, while some are being prepared.
    """

    def __init__(self, most: int, batch: int, wait: float) -> None:
        self._most, self._batch, self._wait = most, batch, wait
        self._waiting: queue.Queue[_Asked | None] = queue.Queue()
        self._lock = threading.Lock()
        self.taken = 0
        self._preparing = 0
        self._bytes = 0
        self.on_batch: Callable[[int], object] = lambda _: None  # gets their sizes
        self._seconds = 0.0  # a picture takes beside others, running mean
        self._thread = threading.Thread(target=self._work, name="recognizer", daemon=True)
        self._thread.start()

    @contextmanager
    def place_for(self, pictures: int) -> Iterator[None]:
        """Room for so many pictures during the block; raises BusyError."""
        with self._lock:
            if self.taken + pictures > self._most:
                raise self._busy()
            self.taken += pictures
            ahead, begun = self.taken, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.taken -= pictures
                seconds = (time.monotonic() - begun) / ahead
                self._seconds += _RECENT * (seconds - self._seconds)

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """A picture is decoded, perhaps embedded, in the block; `ask` may come after it."""
        with self._lock:
            self._preparing += 1
        try:
            yield
        finally:
            with self._lock:
                self._preparing -= 1

    def ask(
        self,
        recognizer: Recognizing | Nearest,
        squares: Sequence[Square],
        embedding: NDArray[np.float32] | None = None,
    ) -> "Future[RecognizedPicture]":
        """What is said of a picture, in its time; inside `place_for`. Raises BusyError.

        embedding: [D] of these squares by a FittedRecognizer; None: it is computed.
        """
        asked = _Asked(recognizer, squares, embedding)
        size = sum(square.pixels.nbytes for square in squares if square.pixels is not None)
        with self._lock:
            if self._bytes and self._bytes + size > _MOST_BYTES:
                raise self._busy()
            self._bytes += size

        def let_go(_: Future[RecognizedPicture]) -> None:
            with self._lock:
                self._bytes -= size

        asked.answer.add_done_callback(let_go)
        self._waiting.put(asked)
        return asked.answer

    def _busy(self) -> BusyError:
        return BusyError(max(1, math.ceil(self.taken * self._seconds / 2)))

    def close(self) -> None:
        """Finish what was asked, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = False
        while not last and (first := self._waiting.get()) is not None:
            asked, last = self._gathered(first)
            # during a change of the live version both may be asked about
            alike: dict[tuple[int, bool], list[_Asked]] = {}
            for each in asked:
                way = id(each.recognizer), each.embedding is None
                alike.setdefault(way, []).append(each)
            for together in alike.values():
                _answer(together)
            self.on_batch(len(asked))

    def _gathered(self, first: _Asked) -> tuple[list[_Asked], bool]:
        """The first and what comes within the wait; and whether the end came."""
        asked, until = [first], time.monotonic() + self._wait
        while len(asked) < self._batch:
            left = max(0.0, until - time.monotonic()) if self._preparing else 0.0
            try:
                each = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if each is None:
                return asked, True
            asked.append(each)
        return asked, False


def _answer(asked: Sequence[_Asked]) -> None:
    """Give every picture what is said of it, or the error; of one recognizer."""
    going = [each for each in asked if each.answer.set_running_or_notify_cancel()]
    if not going:
        return
    try:
        by_geometry = [
            list(squares) for squares in zip(*(each.squares for each in going), strict=True)
        ]
        recognizer = going[0].recognizer
        embedded = [each.embedding for each in going if each.embedding is not None]
        if isinstance(recognizer, FittedRecognizer) and embedded:
            answers: tuple[Any, ...] = recognizer.answer(by_geometry, np.stack(embedded))
        else:
            answers = recognizer(by_geometry)
        for each, *words in zip(going, *answers, strict=True):
            each.answer.set_result(RecognizedPicture(*words))
    except BaseException as error:
        for each in going:
            if not each.answer.done():
                each.answer.set_exception(error)
