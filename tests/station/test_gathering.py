"""Pictures of many askers, recognized together; no more than stated wait."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvgssl.images.decoding import Square
from cvgssl.station import gathering
from cvgssl.station.gathering import BusyError, Gatherer
from tests.station.conftest import until


@dataclass(eq=False)
class Mean:
    """Says how bright a picture is; waits for `go`, and fails on black ones."""

    classes: tuple[str, ...] = ("dark", "bright")
    geometries: tuple[Any, ...] = ()
    go: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        assert self.go.wait(30)
        (own,) = squares
        self.sizes.append(len(own))
        bright = np.array([square.pixels.mean() / 255 for square in own], np.float32)  # type: ignore[union-attr]
        if not bright.all():
            raise ValueError("black")
        return np.stack([1 - bright, bright], axis=1), [None] * len(own)


def square(level: int, side: int = 4) -> list[Square]:
    return [Square("", np.full((1, side, side), level, np.uint8))]


def test_each_gets_its_own_answer() -> None:
    gatherer, mean = Gatherer(most=100, batch=8, wait=0.05), Mean()
    asked = [gatherer.ask(mean, square(level)) for level in range(1, 31)]
    mean.go.set()
    for level, answer in zip(range(1, 31), asked, strict=True):
        assert answer.result(30).probabilities[1] == pytest.approx(level / 255)
    gatherer.close()
    assert sum(mean.sizes) == 30 and max(mean.sizes) == 8


def test_two_recognizers_are_never_in_one_batch() -> None:
    gatherer, first, second = Gatherer(100, 8, 0.05), Mean(), Mean()
    first.go.set(), second.go.set()
    asked = [gatherer.ask((first, second)[n % 2], square(n + 1)) for n in range(8)]
    for number, answer in enumerate(asked):
        assert answer.result(30).probabilities[1] == pytest.approx((number + 1) / 255)
    gatherer.close()
    assert sum(first.sizes) == sum(second.sizes) == 4


def test_more_than_may_wait_are_refused_at_once() -> None:
    gatherer = Gatherer(most=3, batch=8, wait=0)
    with ExitStack() as places:
        places.enter_context(gatherer.place_for(2))
        with pytest.raises(BusyError) as busy, gatherer.place_for(2):
            raise AssertionError("taken")
        assert busy.value.retry_after >= 1
        with gatherer.place_for(1):
            assert gatherer.taken == 3
    assert gatherer.taken == 0
    gatherer.close()


def test_bytes_that_wait_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_MOST_BYTES", 100)
    gatherer, mean = Gatherer(most=9, batch=1, wait=0), Mean()
    large = gatherer.ask(mean, square(9, side=20))  # alone it is taken, whatever its size
    with pytest.raises(BusyError):
        gatherer.ask(mean, square(9))
    mean.go.set()
    assert large.result(30).probabilities[1] > 0
    assert gatherer.ask(mean, square(9)).result(30).probabilities[1] > 0
    gatherer.close()


def test_an_error_goes_to_those_who_asked() -> None:
    gatherer, mean = Gatherer(most=9, batch=1, wait=0), Mean()
    black, gray = gatherer.ask(mean, square(0)), gatherer.ask(mean, square(9))
    mean.go.set()
    with pytest.raises(ValueError, match="black"):
        black.result(30)
    assert gray.result(30).probabilities[1] > 0
    gatherer.close()


def test_a_picture_waits_for_those_that_are_being_decoded() -> None:
    gatherer, mean = Gatherer(most=9, batch=8, wait=30), Mean()
    mean.go.set()
    with gatherer.place_for(9):  # nothing is being decoded
        assert gatherer.ask(mean, square(9)).result(20).probabilities[1] > 0
    with gatherer.decoding():
        first = gatherer.ask(mean, square(8))
        until(gatherer._waiting.empty)  # the thread has it, and waits
        assert not first.done()
    assert gatherer.ask(mean, square(9)).result(20).probabilities[1] > 0
    assert first.result(20).probabilities[1] > 0
    gatherer.close()
    assert mean.sizes == [1, 2]


def test_what_was_asked_is_finished_at_the_end() -> None:
    gatherer, mean = Gatherer(most=99, batch=2, wait=0), Mean()
    asked = [gatherer.ask(mean, square(9)) for _ in range(5)]
    ending = threading.Thread(target=gatherer.close)
    ending.start()
    mean.go.set()
    ending.join()
    assert all(answer.done() for answer in asked)


def test_who_has_gone_costs_nothing() -> None:
    gatherer, mean = Gatherer(most=99, batch=1, wait=0), Mean()
    first, gone = gatherer.ask(mean, square(9)), gatherer.ask(mean, square(9))
    assert gone.cancel()
    mean.go.set()
    first.result(30)
    gatherer.close()
    assert mean.sizes == [1]
