"""Alarms of a station: what was reported about changed pictures, and what people made of it."""

import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cvgssl.images.names import comparable
from cvgssl.recognizer.alarm_file import NamedEmbeddings, embeddings_around
from cvgssl.recognizer.changes import ChangeAlarm
from cvgssl.recognizer.recentring import Labelled, recentre
from cvgssl.runtime.errors import UserError
from cvgssl.station.answer_rows import WATCH, Answer, Judged, Source, Wanted
from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.events import LOG, Event, EventLog
from cvgssl.station.lines import write_line
from cvgssl.station.review import REVIEWED
from cvgssl.station.sinks import ALARM
from cvgssl.station.streams import CHANGES, change_log

SETTLED = "settled"
Settled = Literal["nothing", "labelled", "recentred"]
"""What people made of an alarm: nothing has to be done, or they gave labels, or re-centred."""
STATION = "station"
"""Who did what no person did, in the log."""
_TO_LABEL = 3
# by SQLite: to read thousands of alarms in Python takes 40 ms, for each new one
_KNOWN = (
    "select json_extract(facts, '$.pictures') from events where kind = ?"
    f" and coalesce(json_extract(facts, '$.source'), '{WATCH}') = ?"
    " and json_extract(facts, '$.version') = ?"
    " and coalesce(json_extract(facts, '$.pictures_per_part'), 1) = ?"
)

# asked for by every page that is open, so by SQLite
_OPEN = (
    "select count(*) from events where kind = ? and number not in"
    " (select json_extract(facts, '$.alarm') from events where kind = ?)"
)


@dataclass(frozen=True)
class StationAlarm:
    """number, at: of its event. source: of the pictures, `facts` name them as `Stream` does.

    version: that was live. pictures_per_part: of `AlarmOptions`. settled: what was made of it, or
    None; who: did. made: number of the re-centred version, and how many labels it learned.
    """

    number: int
    at: str
    source: Source
    version: int
    pictures_per_part: int
    facts: dict[str, Any]
    settled: str | None
    who: str | None
    made: tuple[int, int] | None = None


class Alarms:
    """Alarms in a station's log, for any number of threads.

    Parameters
    ----------
    folder
        Of the station.
    pictures_per_part
        Of `AlarmOptions`.
    answering, answers
        That make re-centred versions, and have what was answered.
    """

    def __init__(
        self, folder: Path, pictures_per_part: int, answering: Answering, answers: Answers
    ) -> None:
        self._folder, self._pictures_per_part = folder, pictures_per_part
        self._answering, self._answers = answering, answers
        self._log, self._lock = EventLog(folder / LOG), threading.Lock()
        self._recentring = threading.Lock()

    def add(self, source: Source, version: int, alarms: Sequence[ChangeAlarm]) -> None:
        """Add to the log what is not there: see `streams.Tell`."""
        whose = {
            "source": source,
            "version": version,
            "pictures_per_part": self._pictures_per_part,
        }
        with self._lock:
            told = {pictures for (pictures,) in self._log.select(_KNOWN, [ALARM, *whose.values()])}
            new = [alarm for alarm in alarms if alarm.pictures not in told]
            for alarm in new:
                self._log.append(ALARM, STATION, **whose, **asdict(alarm))
        for alarm in new:
            write_line(level="warning", source=source, message=alarm.line())

    def all(self) -> list[StationAlarm]:
        """All, the newest first."""
        with self._lock:
            events = list(self._log.events(ALARM, SETTLED))
        settled: dict[int, Event] = {
            event.facts["alarm"]: event for event in events if event.kind == SETTLED
        }
        alarms = []
        for event in reversed([event for event in events if event.kind == ALARM]):
            by = settled.get(event.number)
            how = None if by is None else by.facts["how"]
            made = None
            if by is not None and "version" in by.facts:
                made = by.facts["version"], by.facts["labels"]
            facts = dict(event.facts)
            source, version = facts.pop("source", WATCH), facts.pop("version")
            per_part = facts.pop("pictures_per_part", 1)
            who = None if by is None else by.who
            alarms.append(
                StationAlarm(
                    event.number, event.at, source, version, per_part, facts, how, who, made
                )
            )
        return alarms

    def open(self) -> int:
        """How many nobody has dealt with."""
        with self._lock:
            ((count,),) = self._log.select(_OPEN, [ALARM, SETTLED])
        return int(count)

    def example(self, alarm: StationAlarm, name: str) -> Answer | None:
        """The newest answer to a picture that an alarm names; None where there is none."""
        if alarm.source == WATCH:
            answers = self._answers.page(Wanted(name=name, source=WATCH))
            return next((answer for answer in answers if answer.name == name), None)
        return next(
            iter(self._answers.page(Wanted(sha256=name, source=alarm.source), None, 1)), None
        )

    def to_label(self, alarm: StationAlarm) -> list[Answer]:
        """Up to three answers since a change whose labels would tell most: the least sure ones.

        Of different likely classes where there are some; none of those that were reviewed.
        """
        unsure = sorted(self._since(alarm, "none"), key=lambda answer: answer.probability)
        chosen: list[Answer] = []
        for answer in unsure:
            if answer.predicted_class not in [other.predicted_class for other in chosen]:
                chosen.append(answer)
        chosen += [answer for answer in unsure if answer not in chosen]
        return chosen[:_TO_LABEL]

    def labelled(self, alarm: StationAlarm) -> int:
        """Answers since a change that people have reviewed, counted up to 1000."""
        return sum(len(self._since(alarm, review)) for review in ("right", "wrong"))

    def _since(self, alarm: StationAlarm, review: Judged) -> list[Answer]:
        """The newest answers of an alarm's source since the change, 500 at most, by review."""
        first = self.example(alarm, alarm.facts["first"])
        newest = self._answers.page(Wanted(source=alarm.source, review=review), None, 500)
        return [answer for answer in newest if first is None or answer.number >= first.number]

    def recentre(self, number: int, who: str, truths: Mapping[str, str]) -> tuple[int, int]:
        """Make a version of the one that gave an alarm, re-centred, which is not live.

        truths: classes of pictures by their SHA-256; it learns those of pictures since the change.
        Gives its number, and how many labels it learned. Raises LookupError where there is no such
        alarm, UserError where pictures are too few, and where somebody else has one made.
        """
        if not self._recentring.acquire(blocking=False):
            raise UserError("a version is being re-centred; wait until it is there")
        try:
            return self._recentred(number, who, truths)
        finally:
            self._recentring.release()

    def _recentred(self, number: int, who: str, truths: Mapping[str, str]) -> tuple[int, int]:
        alarm = next((alarm for alarm in self.all() if alarm.number == number), None)
        if alarm is None:
            raise LookupError(f"alarm {number}: there is none")
        loaded = self._answering.load(alarm.version)
        log = change_log(self._folder, alarm.source, alarm.version, alarm.pictures_per_part)
        before, after = embeddings_around(log, alarm.facts["pictures"], alarm.facts["since"])
        labelled = self._named(alarm, after, truths)
        made = self._folder / CHANGES / f"version {alarm.version} re-centred"
        shutil.rmtree(made, ignore_errors=True)  # of an earlier time
        joined = recentre(loaded.version.path, before.values, after.values, made, labelled)
        version = self._answering.add(made, who)
        shutil.rmtree(made, ignore_errors=True)
        self.settle(number, "recentred", who, version=version.number, labels=joined.labels)
        return version.number, joined.labels

    def _named(
        self, alarm: StationAlarm, after: NamedEmbeddings, truths: Mapping[str, str]
    ) -> Labelled:
        """The pictures since a change whose classes are known."""
        rows = after.rows()
        learned: dict[Path, tuple[str, int]] = {}
        for sha256, truth in truths.items():
            names = [sha256]
            if alarm.source == WATCH:
                answers = self._answers.page(Wanted(sha256=sha256, source=WATCH))
                names = [comparable(answer.name) for answer in answers]
            row = next((rows[name] for name in names if name in rows), None)
            if row is not None:
                # as the next fit of reviews calls them, so that pages find the pictures
                learned[self._folder / REVIEWED / sha256] = truth, row
        return Labelled(
            [path.as_posix() for path in learned],
            [path.resolve() for path in learned],
            [truth for truth, _ in learned.values()],
            after.values[np.array([row for _, row in learned.values()], np.intp)],
        )

    def settle(self, number: int, how: Settled, who: str, **made: int) -> None:
        """Note what was made of an alarm; raises LookupError where there is none.

        Raises UserError where somebody has dealt with it, except for a re-centred version, which
        is there then. made: `version` and `labels` of that.
        """
        alarm = next((alarm for alarm in self.all() if alarm.number == number), None)
        if alarm is None:
            raise LookupError(f"alarm {number}: there is none")
        # from a page that was loaded before: it would hide the version that was made
        if alarm.settled is not None and how != "recentred":
            raise UserError(f"alarm {number}: {alarm.who} has dealt with it")
        with self._lock:
            self._log.append(SETTLED, who, alarm=number, how=how, **made)

    def close(self) -> None:
        """Close the log."""
        with self._lock:
            self._log.close()
