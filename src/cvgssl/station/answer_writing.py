"""Answers on their way to the disk.

One thread writes, many rows at once, so that answering does not wait for the disk. A kill loses
the answers of the last moment, which is stated below, and doubles none.
"""

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answer_rows import ANSWER
from cvgssl.station.events import EventLog, now
from cvgssl.station.lines import write_line

_GATHER = 0.05  # seconds in which answers are gathered for one transaction
_AGAIN = 1.0  # seconds after which a disk that took no rows is asked again
_PATIENCE = 10.0  # seconds that somebody waits for it
_TRIES = 3  # at the end
_MOST = 100_000  # answers that may wait for such a disk


@dataclass
class _Waiting:
    at: str
    who: str
    facts: dict[str, Any]
    once: bool
    number: Future[int] = field(default_factory=Future)


class AnswerWriter:
    """Adds rows to the station's log, from any number of threads.

    log: the file.
    """

    def __init__(self, log: Path) -> None:
        self._log = EventLog(log)
        self._waiting: queue.Queue[_Waiting | Future[None] | None] = queue.Queue()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    def check_room(self) -> None:
        """Raise MachineError where the disk has taken none for so long that too many wait."""
        if self._waiting.qsize() >= _MOST:
            raise MachineError("the disk takes no more answers; see the log")

    def add(self, who: str, facts: dict[str, Any], once: bool) -> "Future[int]":
        """Add a row of now; its number comes when it is on the disk. once: see `Answers.keep`."""
        waiting = _Waiting(now(), who, facts, once)
        self._waiting.put(waiting)
        return waiting.number

    def settle(self) -> None:
        """Wait until what was kept before is on the disk, but not for long where it takes none."""
        settled: Future[None] = Future()
        self._waiting.put(settled)
        with suppress(TimeoutError):
            settled.result(_PATIENCE)

    def close(self) -> None:
        """Write what waits, then end."""
        self._ending = True
        self._waiting.put(None)
        self._thread.join()
        self._log.close()

    def _work(self) -> None:
        ended, tries = False, 0
        rows: list[_Waiting] = []
        asked: Future[None] | None = None
        while not (ended and not rows):
            if not rows:
                rows, asked, ended = self._gathered()
            try:
                self._write(rows)
                rows = []
                if asked is not None:
                    asked.set_result(None)
            except UserError as error:  # a full disk, another process that writes for long, damage
                tries += self._ending
                write_line(level="error", message=f"answers wait: {one_line(error)}")
                if tries < _TRIES:
                    time.sleep(_AGAIN)
                    continue
                write_line(level="error", message=f"{len(rows)} answers could not be kept")
                for row in rows:
                    row.number.set_exception(error)
                if asked is not None:
                    asked.set_exception(error)
                rows = []

    def _gathered(self) -> tuple[list[_Waiting], Future[None] | None, bool]:
        """What waits and comes within a moment; whoever waits for it; whether the end came."""
        rows: list[_Waiting] = []
        until = None
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return rows, None, False
            try:
                item = self._waiting.get(timeout=left)
            except queue.Empty:
                return rows, None, False
            if item is None:
                return rows, None, True
            if isinstance(item, Future):
                return rows, item, False
            rows.append(item)
            until = until or time.monotonic() + _GATHER

    def _write(self, rows: Sequence[_Waiting]) -> None:
        """Add the rows, all or none; those that may be there only once are looked for first."""
        if not rows:
            return
        with self._log.alone():
            added: list[_Waiting] = []
            places: dict[tuple[str, ...], int] = {}
            present: list[tuple[_Waiting, int]] = []
            copies: list[tuple[_Waiting, int]] = []
            for row in rows:
                key = (row.facts["sha256"], row.facts["name"], row.facts["source"])
                number = self._found(key) if row.once else None
                if number is not None:
                    present.append((row, number))
                elif row.once and key in places:
                    copies.append((row, places[key]))
                else:
                    places[key] = len(added)
                    added.append(row)
            numbers = self._log.append_all((row.at, row.who, ANSWER, row.facts) for row in added)
        copied = [(row, numbers[place]) for row, place in copies]
        for row, number in (*zip(added, numbers, strict=True), *present, *copied):
            if row.number.set_running_or_notify_cancel():
                row.number.set_result(number)

    def _found(self, key: Sequence[str]) -> int | None:
        rows = self._log.select(
            "select number from events where kind = 'answer'"
            " and json_extract(facts, '$.sha256') = ? and json_extract(facts, '$.name') = ?"
            " and json_extract(facts, '$.source') = ? limit 1",
            key,
        )
        return int(rows[0][0]) if rows else None
