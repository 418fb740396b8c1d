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

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.recognizer.nearest import Nearest
from cvgssl.recognizer.predict import Neighbour, Recognizing

_RECENT = 0.2  # share of the newest batch in the running mean
_MOST_BYTES = 2**30  # of decoded pictures that wait, where recognizers take them whole


class BusyError(Exception):
    """As many pictures wait as may; `retry_after`: seconds until about half of them are done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@dataclass(frozen=True)
class RecognizedPicture:
    """Of one picture. probabilities: float32 [K]. verdict: None where there are none.

    nearest: labelled pictures that are most like it, where they were asked for.
    """

    probabilities: NDArray[np.float32]
    verdict: str | None
    nearest: tuple[Neighbour, ...] = ()


@dataclass
class _Asked:
    """squares: one for each geometry of the recognizer."""

    recognizer: Recognizing | Nearest
    squares: Sequence[Square]
    answer: Future[RecognizedPicture] = field(default_factory=Future)


class Gatherer:
    """The thread that recognizes, and how many pictures wait for it.

    most: pictures that are taken at once. batch: most that are recognized together.
    wait: seconds that a picture may wait for others, while some are being decoded.
    """

    def __init__(self, most: int, batch: int, wait: float) -> None:
        self._most, self._batch, self._wait = most, batch, wait
        self._waiting: queue.Queue[_Asked | None] = queue.Queue()
        self._lock = threading.Lock()
        self.taken = 0
        self._decoding = 0
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

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """A picture is being decoded during the block, about which `ask` may come then."""
        with self._lock:
            self._decoding += 1
        try:
            yield
        finally:
            with self._lock:
                self._decoding -= 1

    def ask(
        self, recognizer: Recognizing | Nearest, squares: Sequence[Square]
    ) -> "Future[RecognizedPicture]":
        """What is said of a picture, in its time; inside `place_for`. Raises BusyError."""
        asked = _Asked(recognizer, squares)
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
            begun = time.monotonic()
            # of a change of the live version both may be asked for
            for recognizer in {
                id(picture.recognizer): picture.recognizer for picture in asked
            }.values():
                _answer(
                    recognizer, [picture for picture in asked if picture.recognizer is recognizer]
                )
            seconds = (time.monotonic() - begun) / len(asked)
            self._seconds += _RECENT * (seconds - self._seconds)
            self.on_batch(len(asked))

    def _gathered(self, first: _Asked) -> tuple[list[_Asked], bool]:
        """The first and what comes within the wait; and whether the end came."""
        asked, until = [first], time.monotonic() + self._wait
        while len(asked) < self._batch:
            left = max(0.0, until - time.monotonic()) if self._decoding else 0.0
            try:
                picture = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if picture is None:
                return asked, True
            asked.append(picture)
        return asked, False


def _answer(recognizer: Recognizing | Nearest, asked: Sequence[_Asked]) -> None:
    """Give every picture what is said of it, or the error."""
    going = [picture for picture in asked if picture.answer.set_running_or_notify_cancel()]
    if not going:
        return
    try:
        by_geometry = [
            list(squares) for squares in zip(*(picture.squares for picture in going), strict=True)
        ]
        for picture, *words in zip(going, *recognizer(by_geometry), strict=True):
            picture.answer.set_result(RecognizedPicture(*words))
    except BaseException as error:
        for picture in going:
            if not picture.answer.done():
                picture.answer.set_exception(error)
