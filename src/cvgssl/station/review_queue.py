"""Which answers wait to be looked at, and who has which: none is asked of two people."""

import time
from collections.abc import Container, Iterator, Sequence
from itertools import zip_longest

from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.station.answer_rows import Answer
from cvgssl.station.answers import Answers
from cvgssl.station.events import EventLog
from cvgssl.station.label_queue import LEASE

SAMPLE = "sample"
KINDS = (UNKNOWN, NOT_SURE, SAMPLE)
_DIGITS = 8  # of a hash that decide about the sample
COUNTED = 1000  # pictures that are left, of which it is told how many
_ROWS = 200  # that are read at once


class ReviewQueue:
    """Pictures by their hashes; not for several threads at once, its owner sees to that.

    share: of all pictures that are in the sample, 0..1. What `reviewed` has was looked at.
    """

    def __init__(self, log: EventLog, answers: Answers, share: float) -> None:
        self._log, self._answers = log, answers
        self._below = f"{min(int(share * 16**_DIGITS), 16**_DIGITS - 1):0{_DIGITS}x}"
        self._leases: dict[str, tuple[str, float]] = {}
        self._skipped: dict[str, set[str]] = {}

    def next(
        self, reviewed: Container[str], who: str, most: int, kinds: Sequence[str]
    ) -> list[Answer]:
        """See `Reviews.next`."""
        waiting: list[Answer] = []
        seen = set[str]()
        for answer in _in_turn([self._waiting(kind, reviewed) for kind in kinds]):
            if len(waiting) == most:
                break
            if answer.sha256 not in seen and self._lease(answer.sha256, who):
                waiting.append(answer)
            seen.add(answer.sha256)
        return waiting

    def skip(self, sha256: str, who: str) -> None:
        """Leave a picture to others, until the station ends."""
        self._skipped.setdefault(who, set()).add(sha256)
        if self._leases.get(sha256, ("", 0))[0] == who:
            del self._leases[sha256]

    def release(self, sha256: str) -> None:
        """A picture is nobody's any more."""
        self._leases.pop(sha256, None)

    def left(self, reviewed: Container[str]) -> dict[str, int]:
        """Pictures of each kind that nobody has looked at, counted up to `COUNTED`."""
        counts = {}
        for kind in KINDS:
            pictures = set[str]()
            for _, sha256 in self._rows(kind, reviewed):
                pictures.add(sha256)
                if len(pictures) == COUNTED:
                    break
            counts[kind] = len(pictures)
        return counts

    def in_sample(self, sha256: str) -> bool:
        """Whether a picture is one of the random sample."""
        return sha256 < self._below

    def _waiting(self, kind: str, reviewed: Container[str]) -> Iterator[Answer]:
        """Answers of a kind whose pictures nobody has looked at, the newest first."""
        return (self._answers.get(number) for number, _ in self._rows(kind, reviewed))

    def _rows(self, kind: str, reviewed: Container[str]) -> Iterator[tuple[int, str]]:
        """Their numbers, and hashes of the pictures."""
        source, value = self._kind(kind)
        before = 2**62
        while rows := self._log.select(
            f"select number, json_extract(facts, '$.sha256') from events {source}"
            " and number < ? order by number desc limit ?",
            [value, before, _ROWS],
        ):
            yield from (row for row in rows if row[1] not in reviewed)
            before = rows[-1][0]

    def _kind(self, kind: str) -> tuple[str, str]:
        """Index and condition in SQL, and the value of its parameter."""
        which, field, sign, value = (
            ("picture", "sha256", "<", self._below)
            if kind == SAMPLE
            else ("answer", "answer", "=", kind)
        )
        return (
            f"indexed by answers_by_{which} where kind = 'answer'"
            f" and json_extract(facts, '$.{field}') {sign} ?",
            value,
        )

    def _lease(self, sha256: str, who: str) -> bool:
        now = time.monotonic()
        holder, until = self._leases.get(sha256, (who, 0.0))
        if sha256 in self._skipped.get(who, ()):
            return False
        if holder != who and until > now:
            return False
        self._leases[sha256] = (who, now + LEASE)
        return True


def _in_turn(streams: Sequence[Iterator[Answer]]) -> Iterator[Answer]:
    """One of each, again and again, until all have ended."""
    for row in zip_longest(*streams):
        yield from (each for each in row if each is not None)
