"""Every answer of a station, as rows of its log, with the picture beside them.

One thread writes, many rows at once, so that answering does not wait for the disk. A kill loses
the answers of the last moment, which is stated below, and doubles none.
"""

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cvgssl.runtime.csv_writing import csv_line
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.events import EventLog, now
from cvgssl.station.lines import write_line
from cvgssl.station.picture_store import PictureStore

ANSWER, REVIEW = "answer", "review"
PAGE: Final = "page"
PROGRAM: Final = "program"
WATCH: Final = "watch"
Source = Literal["page", "program", "watch"]
Judged = Literal["right", "wrong", "none"]
COLUMNS = ("number", "at", "name", "sha256", "version", "answer", "class", "probability", "source",
           "who", "ms", "review", "label")  # fmt: skip

COUNTED = 20_000  # answers, of which it is told which they are
_GATHER = 0.05  # seconds in which answers are gathered for one transaction
_AGAIN = 1.0  # seconds after which a disk that took no rows is asked again
_PATIENCE = 10.0  # seconds that somebody waits for it
_TRIES = 3  # at the end
_MOST = 100_000  # answers that may wait for such a disk
_PAGE = 1000  # rows that are read at once
_INDEXES = (
    ("answers_by_answer", ANSWER, "json_extract(facts, '$.answer')", "number"),
    ("answers_by_picture", ANSWER, "json_extract(facts, '$.sha256')", "number"),
    ("answers_by_time", ANSWER, "at", "number"),
    ("reviews_by_answer", REVIEW, "json_extract(facts, '$.answer')", "number"),
)
# the last review of the answer `e`; one without a verdict was taken back
_LAST = (
    "(select json_extract(r.facts, '$.{}') from events r indexed by reviews_by_answer"
    # + takes the column's affinity away, with which the index could not be used
    " where r.kind = 'review' and json_extract(r.facts, '$.answer') = +e.number"
    " order by r.number desc limit 1)"
)
_REVIEWED = "select json_extract(facts, '$.answer') from events where kind = 'review'"
_RIGHT, _LABEL = _LAST.format("right"), _LAST.format("label")


@dataclass(frozen=True)
class Answer:
    """An answer that was kept.

    number: of its row. at: UTC, ISO 8601. who: a person's name, or "program". name: the client's
    for the picture. version: that answered. answer: a class, "unknown" or "not sure".
    predicted_class: the most likely one, `probability` its own, 0..1. ms: milliseconds that it
    took, or None.
    right: what the last review says, None where there is none. truth: the class that it names, or
    "".
    """

    number: int
    at: str
    who: str
    name: str
    sha256: str
    version: int
    answer: str
    predicted_class: str
    probability: float
    probabilities: dict[str, float]
    source: str
    ms: float | None
    right: bool | None
    truth: str

    def row(self) -> list[str | float | None]:
        """The cells of `COLUMNS`."""
        judged = None if self.right is None else "right" if self.right else "wrong"
        return [self.number, self.at, self.name, self.sha256, self.version, self.answer,
                self.predicted_class, self.probability, self.source, self.who, self.ms, judged,
                self.truth]  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which answers are meant; what is None does not matter.

    since, until: UTC as answers have it, or the beginning of such a text (a day); until is not
    included. answer: a class, "unknown" or "not sure". review: right, wrong, or none yet.
    name: part of the client's name, letters of any case.
    """

    since: str | None = None
    until: str | None = None
    answer: str | None = None
    source: str | None = None
    version: int | None = None
    sha256: str | None = None
    name: str | None = None
    review: Judged | None = None


@dataclass
class _Waiting:
    at: str
    who: str
    facts: dict[str, Any]
    once: bool
    number: Future[int] = field(default_factory=Future)


class Answers:
    """Keeps answers and gives them back; for any number of threads.

    log: the file of the station's log. pictures: where their pictures are kept.
    """

    def __init__(self, log: Path, pictures: PictureStore) -> None:
        self.log, self.pictures = log, pictures
        self._writing, self._reading = EventLog(log), EventLog(log)
        for index in _INDEXES:
            self._reading.index(*index)
        self._lock = threading.Lock()
        self._waiting: queue.Queue[_Waiting | Future[None] | None] = queue.Queue()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    def keep(
        self,
        told: Mapping[str, Any],
        data: bytes | None,
        *,
        version: int,
        source: Source,
        who: str = PROGRAM,
        ms: float | None = None,
        once: bool = False,
    ) -> "Future[int]":
        """Keep an answer; the number of its row comes when it is on the disk, soon after.

        told: name, sha256, answer, class, probability, probabilities, as `Answering.answer` gives
        them; not one with an error. data: the bytes of the picture, which are kept before this
        returns. once: no second row for a picture of the same name, content and source (a file
        that is seen again after a kill).
        Raises MachineError where the disk has taken no rows for so long that too many wait.
        """
        if self._waiting.qsize() >= _MOST:
            raise MachineError("the disk takes no more answers; see the log")
        if data is not None:
            self.pictures.keep(data, told["sha256"])
        names = ("sha256", "answer", "class", "probability", "probabilities")
        facts = {"name": _text(told["name"]), **{name: told[name] for name in names}}
        facts |= {"version": version, "source": source, "ms": ms}
        json.dumps(facts, allow_nan=False)  # an error here is the caller's
        waiting = _Waiting(now(), who, facts, once)
        self._waiting.put(waiting)
        return waiting.number

    def settle(self) -> None:
        """Wait until what was kept before is on the disk, but not for long where it takes none."""
        settled: Future[None] = Future()
        self._waiting.put(settled)
        with suppress(TimeoutError):
            settled.result(_PATIENCE)

    def get(self, number: int) -> Answer:
        """The answer of that number; raises LookupError where there is none."""
        answers = self._select("and e.number = ?", [number], 1)
        if not answers:
            raise LookupError(f"answer {number}: there is none")
        return answers[0]

    def page(self, wanted: Wanted, before: int | None = None, most: int = 50) -> list[Answer]:
        """The newest answers, those with numbers below `before`; the last number asks for more."""
        where, values = self._where(wanted)
        if before is not None:
            where, values = f"{where} and e.number < ?", [*values, before]
        return self._select(where, values, most)

    def counts(self, wanted: Wanted, most: int = COUNTED) -> dict[str, int]:
        """How many of the newest `most` got which answer, the commonest first."""
        where, values = self._where(wanted)
        with self._lock:
            rows = self._reading.select(
                "select answer, count(*) from"
                " (select json_extract(e.facts, '$.answer') as answer from events e"
                f" where e.kind = 'answer' {where} order by e.number desc limit ?)"
                " group by 1 order by 2 desc, 1",
                [*values, most],
            )
        return dict(rows)

    def csv(self, wanted: Wanted) -> Iterator[str]:
        """A CSV file of them, a text at a time, the newest first."""
        yield "\ufeff" + csv_line(COLUMNS)  # so that spreadsheet programs take it for UTF-8
        before = None
        while answers := self.page(wanted, before, _PAGE):
            yield "".join(csv_line(each.row()) for each in answers)
            before = answers[-1].number

    def close(self) -> None:
        """Write what waits, then end."""
        self._ending = True
        self._waiting.put(None)
        self._thread.join()
        self._writing.close()
        with self._lock:
            self._reading.close()

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
                for each in rows:
                    each.number.set_exception(error)
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
                each = self._waiting.get(timeout=left)
            except queue.Empty:
                return rows, None, False
            if each is None:
                return rows, None, True
            if isinstance(each, Future):
                return rows, each, False
            rows.append(each)
            until = until or time.monotonic() + _GATHER

    def _write(self, rows: Sequence[_Waiting]) -> None:
        """Add the rows, all or none; those that may be there only once are looked for first."""
        if not rows:
            return
        with self._writing.alone():
            added: list[_Waiting] = []
            places: dict[tuple[str, ...], int] = {}
            known: list[tuple[_Waiting, int]] = []
            copies: list[tuple[_Waiting, int]] = []
            for each in rows:
                key = (each.facts["sha256"], each.facts["name"], each.facts["source"])
                number = self._found(key) if each.once else None
                if number is not None:
                    known.append((each, number))
                elif each.once and key in places:
                    copies.append((each, places[key]))
                else:
                    places[key] = len(added)
                    added.append(each)
            numbers = self._writing.append_all(
                (each.at, each.who, ANSWER, each.facts) for each in added
            )
        copied = [(each, numbers[place]) for each, place in copies]
        for each, number in (*zip(added, numbers, strict=True), *known, *copied):
            if each.number.set_running_or_notify_cancel():
                each.number.set_result(number)

    def _found(self, key: Sequence[str]) -> int | None:
        rows = self._writing.select(
            "select number from events where kind = 'answer'"
            " and json_extract(facts, '$.sha256') = ? and json_extract(facts, '$.name') = ?"
            " and json_extract(facts, '$.source') = ? limit 1",
            key,
        )
        return int(rows[0][0]) if rows else None

    def _select(self, where: str, values: Sequence[Any], most: int) -> list[Answer]:
        with self._lock:
            rows = self._reading.select(
                f"select e.number, e.at, e.who, e.facts, {_RIGHT}, {_LABEL} from events e"
                f" where e.kind = 'answer' {where} order by e.number desc limit ?",
                [*values, most],
            )
        return [_answer(*row) for row in rows]

    def _where(self, wanted: Wanted) -> tuple[str, list[Any]]:
        """A condition in SQL that begins with `and`, and its values."""
        words: list[str] = []
        values: list[Any] = []
        for name in ("answer", "sha256", "source", "version"):
            value = getattr(wanted, name)
            if value is not None:
                words.append(f"and json_extract(e.facts, '$.{name}') = ?")
                values.append(value)
        if wanted.name:
            words.append("and instr(lower(json_extract(e.facts, '$.name')), lower(?))")
            values.append(wanted.name)
        if wanted.review is not None:
            if wanted.review != "none":  # few have any
                words.append(f"and e.number in ({_REVIEWED})")
            words.append(f"and {_RIGHT} is ?")
            values.append({"right": 1, "wrong": 0, "none": None}[wanted.review])
        if wanted.since is not None:
            words.append("and +e.at >= ? and e.number >= ?")
            values += [wanted.since, self._bound("min", ">=", wanted.since, 2**62)]
        if wanted.until is not None:
            words.append("and +e.at < ? and e.number <= ?")
            values += [wanted.until, self._bound("max", "<", wanted.until, 0)]
        return " ".join(words), values

    def _bound(self, which: str, sign: str, at: str, none: int) -> int:
        """The first or last number of a time, so that few rows are looked at.

        A clock that was set back gives rows that are not in the order of time.
        """
        with self._lock:
            ((number,),) = self._reading.select(
                f"select {which}(number) from events indexed by answers_by_time"
                f" where kind = 'answer' and at {sign} ?",
                [at],
            )
        return none if number is None else int(number)


def _answer(
    number: int, at: str, who: str, text: str, right: int | None, truth: str | None
) -> Answer:
    facts = json.loads(text)
    return Answer(
        number,
        at,
        who,
        facts["name"],
        facts["sha256"],
        facts["version"],
        facts["answer"],
        facts["class"],
        facts["probability"],
        facts["probabilities"],
        facts["source"],
        facts["ms"],
        None if right is None else bool(right),
        "" if right is None else truth or "",
    )


def _text(name: str) -> str:
    """A name that a text can hold, whatever bytes it was made of."""
    return name.encode("utf-8", "backslashreplace").decode()
