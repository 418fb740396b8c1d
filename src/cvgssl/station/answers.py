"""Every answer of a station, as rows of its log, with the picture beside them."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cvgssl.runtime.csv_writing import csv_line
from cvgssl.station.answer_rows import (
    ANSWER,
    COLUMNS,
    PROGRAM,
    REVIEW,
    Answer,
    Source,
    Wanted,
    answer_of,
)
from cvgssl.station.answer_writing import AnswerWriter
from cvgssl.station.events import EventLog
from cvgssl.station.picture_store import PictureStore

COUNTED = 20_000  # answers, of which it is told which they are
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


class Answers:
    """Keeps answers and gives them back; for any number of threads.

    log: the file of the station's log. pictures: where their pictures are kept.
    """

    def __init__(self, log: Path, pictures: PictureStore) -> None:
        self.log, self.pictures = log, pictures
        self._reading = EventLog(log)
        for index in _INDEXES:
            self._reading.index(*index)
        self._writer, self._lock = AnswerWriter(log), threading.Lock()

    def keep(
        self,
        answer: Mapping[str, Any],
        data: bytes | None,
        *,
        version: int,
        source: Source,
        who: str = PROGRAM,
        ms: float | None = None,
        once: bool = False,
    ) -> "Future[int]":
        """Keep an answer; the number of its row comes when it is on the disk, soon after.

        answer: name, sha256, answer, class, probability, probabilities, as `Answering.answer` gives
        them; not one with an error. data: the bytes of the picture, which are kept before this
        returns. once: no second row for a picture of the same name, content and source (a file
        that is seen again after a kill).
        Raises MachineError where the disk has taken no rows for so long that too many wait.
        """
        self._writer.check_room()
        if data is not None:
            self.pictures.keep(data, answer["sha256"])
        names = ("sha256", "answer", "class", "probability", "probabilities")
        facts = {"name": _text(answer["name"]), **{name: answer[name] for name in names}}
        facts |= {"version": version, "source": source, "ms": ms}
        json.dumps(facts, allow_nan=False)  # an error here is the caller's
        return self._writer.add(who, facts, once)

    def settle(self) -> None:
        """Wait until what was kept before is on the disk, but not for long where it takes none."""
        self._writer.settle()

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
        self._writer.close()
        with self._lock:
            self._reading.close()

    def _select(self, where: str, values: Sequence[Any], most: int) -> list[Answer]:
        with self._lock:
            rows = self._reading.select(
                f"select e.number, e.at, e.who, e.facts, {_RIGHT}, {_LABEL} from events e"
                f" where e.kind = 'answer' {where} order by e.number desc limit ?",
                [*values, most],
            )
        return [answer_of(*row) for row in rows]

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


def _text(name: str) -> str:
    """A name that a text can hold, whatever bytes it was made of."""
    return name.encode("utf-8", "backslashreplace").decode()
