"""What the page for labelling shows and asks: computed again after every label, in the background.

Shape letters: N pictures of the pool.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from cvgssl.features.table import FeatureTable
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.selection.candidates import Candidates, Surroundings
from cvgssl.selection.strategies import STRATEGIES
from cvgssl.station.label_queue import LEASE, LabelQueue
from cvgssl.station.labels import NONE, Label, Labels, NewLabel
from cvgssl.station.labels_say import LabellingState, nothing_said, what_labels_say
from cvgssl.station.pool_rows import PoolRows

BATCH = 16  # pictures that are chosen together
KEYS = 9  # likely classes of a picture
_LOOK = 2.0  # seconds after which labels of other processes are noticed


@dataclass(frozen=True)
class Asked:
    """A picture to label. likely: up to nine classes, the likeliest first, and probabilities."""

    picture: str
    likely: tuple[tuple[str, float], ...]


class Labelling:
    """Labels of the pictures of a pool, what follows from them, and the pictures to label next.

    For several threads and several people. A context manager: inside, two threads compute, one
    what the labels say, one what to ask.
    """

    def __init__(
        self, table: FeatureTable, labels: Labels, kept: Path, lease_seconds: float = LEASE
    ) -> None:
        """kept: folder for what takes seconds to compute. Raises UserError without pictures."""
        self.labels = labels
        self._pool = PoolRows(table, kept)
        self._changed = threading.Condition()  # guards all below; `labels` has a lock of its own
        self._state, self._answers = nothing_said(self._pool)
        self._queue = LabelQueue(len(self._pool), self._is_open, lease_seconds)
        self._around: Surroundings | None = None
        self._points: dict[str, Any] | None = None
        self._problems: dict[str, str] = {}
        self._ended = False
        steps = {"labels": self._refit, "queue": self._choose, "places": self._place}
        self._threads = [
            threading.Thread(target=self._always, args=item, daemon=True) for item in steps.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def label(self, new: NewLabel, who: str) -> Label:
        """As `Labels.give`, for a picture of the pool; what follows from it comes later."""
        self._row(new.picture)
        given = self.labels.give(new, who)
        self._notify()
        return given

    def undo(self, who: str) -> Label | None:
        """As `Labels.undo`; the picture is the next that this person is asked for."""
        undone = self.labels.undo(who)
        row = None if undone is None else self._pool.place.get(undone.picture)
        with self._changed:
            if row is not None and self._is_open(row):
                self._queue.give(row, who)
        self._notify()
        return undone

    def redo(self, who: str) -> Label | None:
        """As `Labels.redo`."""
        given = self.labels.redo(who)
        self._notify()
        return given

    def ask(self, who: str) -> Asked | None:
        """The next picture for a person, or the one that they have: theirs for two minutes.

        None while none is chosen (`LabellingState.preparing`), and when all have a label.
        """
        with self._changed:
            row = self._queue.ask(who)
        self._notify()
        if row is None:
            return None
        return Asked(self._pool.names[row], self.likely(self._pool.names[row]))

    def skip(self, who: str, picture: str) -> None:
        """Ask a person for another picture; this one comes again after all others."""
        with self._changed:
            self._queue.skip(self._row(picture), who)
        self._notify()

    def gone(self, picture: str) -> None:
        """Do not ask for this picture for a minute: its file has vanished."""
        with self._changed:
            self._queue.drop(self._row(picture))
        self._notify()

    def likely(self, picture: str) -> tuple[tuple[str, float], ...]:
        """Up to nine classes of a picture, the likeliest first; those just named last, at 0."""
        row, answers = self._row(picture), self._answers
        probabilities = answers.probabilities[row]
        order = np.argsort(-probabilities, kind="stable")
        known = [(answers.classes[at], round(float(probabilities[at]), 4)) for at in order]
        new = [(name, 0.0) for name in self.labels.classes() if name not in answers.classes]
        return tuple((known + new)[:KEYS])

    @property
    def state(self) -> LabellingState:
        """The newest."""
        with self._changed:
            problem = next(iter(self._problems.values()), None)
            waiting, preparing = len(self._queue.free()), not self._queue.chosen
            return replace(self._state, waiting=waiting, preparing=preparing, problem=problem)

    def includes(self, number: int) -> bool:
        """Whether the state includes the event of this number, or never will; at once."""
        return self._ended or self._state.after >= number

    def wait(self, after: int, seconds: float) -> LabellingState:
        """The state once it includes the event of this number, or as it is after these seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.after >= after or self._ended, seconds)
        return self.state

    def points(self) -> dict[str, Any] | None:
        """All pictures as lists of N JSON values; None while their places are being computed.

        names; x, y: 0..1; labels: index into `classes`, -1 none, -2 "?"; answers: index into
        `classes` (-1 without labels), and its probability.
        """
        places, answers = self._points, self._answers
        if places is None:
            return None
        best, sure = np.full(len(self._pool), -1), np.zeros(len(self._pool))
        if answers.classes:
            best = answers.probabilities.argmax(axis=1)
            sure = answers.probabilities.max(axis=1)
        return places | {
            "classes": list(answers.classes),
            "labels": np.where(answers.unsure, -2, answers.target).tolist(),
            "answers": best.tolist(),
            "probabilities": sure.round(3).tolist(),
        }

    def _always(self, name: str, step: Callable[[], None]) -> None:
        """A thread: a step whenever something changed. What fails is told and tried again."""
        while not self._ended:
            try:
                step()
                problem = None
            except Exception as error:  # nobody looks at a thread: the page has to say it
                problem = one_line(error)
            with self._changed:
                self._problems.pop(name, None)
                if problem is not None:
                    self._problems[name] = problem
                    self._changed.wait_for(lambda: self._ended, _LOOK)

    def _refit(self) -> None:
        with self._changed:
            while not self._ended and self.labels.last == self._state.after:
                self._changed.wait(_LOOK)
        if self._ended:
            return
        state, answers = what_labels_say(self._pool, *self.labels.all())
        with self._changed:
            self._state, self._answers = state, answers
            self._changed.notify_all()

    def _choose(self) -> None:
        self._around = self._around or self._pool.surroundings()
        with self._changed:
            while not self._ended and not self._has_to_choose():
                self._changed.wait(_LOOK)
            if self._ended:
                return
            answers, labels = self._answers, self._state.labelled
            closed = self._queue.closed((answers.target >= 0) | answers.unsure)
        order: list[int] = []
        if budget := min(BATCH, int((~closed).sum())):
            candidates = Candidates(self._pool.rows, answers.target, closed, self._around)
            # without a graph of the pictures, a strategy that needs none
            strategy = STRATEGIES["typiclust" if self._around is None else "medoids"]
            order = strategy(candidates, budget, 0).order.tolist()
        with self._changed:
            self._queue.choose(order, labels)
            self._changed.notify_all()

    def _place(self) -> None:
        with self._changed:  # after the first pictures, for which somebody waits
            self._changed.wait_for(lambda: self._ended or self._queue.chosen)
        if not self._ended:
            x, y = self._pool.places().T.round(4).tolist()
            self._points = {"names": list(self._pool.names), "x": x, "y": y}
        with self._changed:  # once is enough
            self._changed.wait_for(lambda: self._ended)

    def _has_to_choose(self) -> bool:
        answers = self._answers
        labelled = (answers.target >= 0) | answers.unsure
        return self._state.after >= 0 and self._queue.runs_low(labelled, self._state.labelled)

    def _is_open(self, row: int) -> bool:
        now = self.labels.current(self._pool.names[row])
        return now is None or now.label == NONE

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _row(self, picture: str) -> int:
        row = self._pool.place.get(picture)
        if row is None:
            raise UserError(f"{one_line(picture)}: is no picture of the pool")
        return row
