"""Which pictures of a pool wait to be labelled, and who has which: none is asked of two people."""

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

LEASE = 120.0  # seconds that a picture, or an answer to review, is one person's
LOW = 6  # waiting pictures at which others are chosen,
GONE = 60.0  # seconds after which a picture whose file had vanished is looked for again
ROUND = 6  # or labels since the last choice: rounds are better than one go


class LabelQueue:
    """Rows of a pool; not for several threads at once, its owner sees to that.

    is_open: whether a row has no label now. lease_seconds: after which an unanswered picture is
    anybody's again.
    """

    def __init__(
        self, size: int, is_open: Callable[[int], bool], lease_seconds: float = LEASE
    ) -> None:
        self.size, self._is_open, self._seconds = size, is_open, lease_seconds
        self._waiting: list[int] = []
        self._leases: dict[int, tuple[str, float]] = {}  # row to its person and until when
        self._skipped: set[int] = set()
        self._gone: dict[int, float] = {}  # row to when it is looked for again
        self._chosen_at: int | None = None  # labels at the last choice

    @property
    def chosen(self) -> bool:
        """Whether pictures were ever chosen."""
        return self._chosen_at is not None

    def free(self) -> list[int]:
        """Waiting rows that nobody has, the next first."""
        self._end_leases()
        taken = {*self._leases, *self._skipped, *self._gone}
        return [row for row in self._waiting if row not in taken and self._is_open(row)]

    def ask(self, who: str) -> int | None:
        """The row that a person has already, or the next free one; theirs from now on."""
        free = self.free()
        held = self._held(who)
        row = held[0] if held else free[0] if free else None
        if row is not None:
            self._lease(row, who)
        return row

    def give(self, row: int, who: str) -> None:
        """Ask a person for this row next, in place of what they have."""
        for held in self._held(who):
            del self._leases[held]
            self._waiting.insert(0, held)
        self._lease(row, who)

    def skip(self, row: int, who: str) -> None:
        """Leave a row out until there is no other; nothing happens where somebody else has it."""
        owner, _ = self._leases.get(row, (who, 0.0))
        if owner == who:
            self._leases.pop(row, None)
            self._skipped.add(row)

    def drop(self, row: int) -> None:
        """Leave a row out for a minute."""
        self._leases.pop(row, None)
        self._gone[row] = time.monotonic() + GONE

    def closed(self, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows [N] that are not to be chosen; labelled: bool [N], those that need no choice.

        Skipped ones come again once all others are closed.
        """
        self._end_leases()
        closed = labelled.copy()
        closed[[*self._leases, *self._gone]] = True
        skipped = [row for row in self._skipped if not closed[row]]
        if len(skipped) == int((~closed).sum()):
            self._skipped.clear()
            return closed
        closed[skipped] = True
        return closed

    def runs_low(self, labelled: NDArray[np.bool_], labels: int) -> bool:
        """Whether to choose again: at the first time, when few wait, and after some labels."""
        if self._chosen_at is None:
            return True
        could = int((~self.closed(labelled)).sum())
        waiting = len(self.free())
        return waiting < min(LOW, could) or (could > 0 and abs(labels - self._chosen_at) >= ROUND)

    def choose(self, rows: Iterable[int], labels: int) -> None:
        """These wait from now on, in place of others; chosen with so many labels."""
        self._waiting, self._chosen_at = list(rows), labels

    def _held(self, who: str) -> list[int]:
        return [row for row, (owner, _) in self._leases.items() if owner == who]

    def _lease(self, row: int, who: str) -> None:
        self._leases[row] = (who, time.monotonic() + self._seconds)

    def _end_leases(self) -> None:
        now = time.monotonic()
        self._gone = {row: until for row, until in self._gone.items() if until > now}
        for row, (_, until) in list(self._leases.items()):
            if not self._is_open(row):
                del self._leases[row]
            elif until < now:
                del self._leases[row]
                self._waiting = [row, *(each for each in self._waiting if each != row)]
