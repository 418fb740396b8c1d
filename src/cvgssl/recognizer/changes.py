"""Whether the pictures that a recognizer names still come as before, kept in an SQLite file.

A picture is on the disk before it counts. What the detector knows is kept from time to time, and
made again from the pictures since, so that a restart changes nothing.
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.heads.change import Alarm, ChangeDetector
from cvgssl.recognizer.card import TRAIN, load_recognizer
from cvgssl.recognizer.config import AlarmOptions
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.measuring import Arrival, Measure, Seen, noting
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.sqlite_file import SqliteFile, SqliteKind

LOOKED_AT = 2000  # pictures whose embeddings are kept, the newest
EXAMPLES = 6
_KEEP = 500  # pictures from one copy of the detector's state to the next
_TABLES = """
create table about (recognizer text not null, pictures_per_part integer not null);
create table pictures (
    number integer primary key, at text not null, name text not null, label integer not null,
    nearest integer not null, measured blob, embedding blob
);
create table detector (number integer not null, state blob not null);
create table alarms (number integer primary key, facts text not null);
"""
KIND = SqliteKind("file of --alarm", "another file", 2, _TABLES, "normal")


@dataclass(frozen=True)
class ChangedPicture:
    """An example. name: as it was given. nearest: name of the train picture most like it."""

    name: str
    nearest: str


@dataclass(frozen=True)
class ChangeAlarm:
    """What is reported about a change; all fields are JSON values.

    alarm: kind, see `heads.change`. words: the same for people. pictures: that were seen until
    now. since: how many pictures ago it began, an estimate; first: name of the first of these.
    examples: those that have changed most.
    """

    alarm: str
    words: str
    at: str
    pictures: int
    since: int
    first: str
    examples: tuple[ChangedPicture, ...]

    def line(self) -> str:
        """It in one line."""
        return (
            f"the pictures have changed since about {self.since} pictures ago ({self.first}): "
            f"{self.words}; most of all {', '.join(each.name for each in self.examples[:3])}"
        )


class ChangeLog:
    """The pictures of one place, and the detector that has seen them; for one thread at a time.

    train_names: of the recognizer's train pictures. untold: alarms that were found when the log
    was opened, where an earlier process had ended before it could tell.
    """

    def __init__(
        self,
        path: Path,
        recognizer: str,
        train_names: Sequence[str],
        options: AlarmOptions,
    ) -> None:
        """recognizer: what tells it from others, such as a hash.

        Raises UserError for a file that is none, or of another recognizer, and MachineError for a
        disk that does not take rows.
        """
        self._train, self._per_part = train_names, options.pictures_per_part
        self.detector = ChangeDetector(max(options.false_alarm_every / self._per_part, 2))
        self.untold: list[ChangeAlarm] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        about = ("insert into about values (?, ?)", (recognizer, self._per_part))
        self._file = SqliteFile(path, KIND, [about])
        self._check(recognizer)
        self._go_on()

    @property
    def count(self) -> int:
        """Pictures that were seen."""
        return self._count

    def take(self, pictures: Sequence[Arrival]) -> list[ChangeAlarm]:
        """The next pictures; gives the alarms where they have changed."""
        compared, rows = [], []
        for number, picture in enumerate(pictures, self._count + 1):
            measured = None
            if number % self._per_part == 0:
                compared.append((number, picture.label, picture.values))
                measured = np.asarray(picture.values, np.float64).tobytes()
            embedding = np.asarray(picture.embedding, np.float32).tobytes()
            rows.append(
                (number, _now(), picture.name, picture.label, picture.nearest, measured, embedding)
            )
        with self._file.alone():
            self._file.do_each("insert into pictures values (?, ?, ?, ?, ?, ?, ?)", rows)
        self._count += len(rows)
        return self._compare(compared)

    def alarms(self) -> list[ChangeAlarm]:
        """All, the oldest first."""
        rows = self._file.select("select facts from alarms order by number")
        return [alarm_of(json.loads(facts)) for (facts,) in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _compare(self, pictures: Iterable[tuple[int, int, Any]]) -> list[ChangeAlarm]:
        """Have the detector look at pictures that are on the disk: number, class and values."""
        alarms = []
        for number, label, values in pictures:
            noticed = self.detector.observe(label, values)
            alarm = None if noticed is None else self._tell(noticed, number)
            alarms += [] if alarm is None else [alarm]
            if alarm is not None or self.detector.count % _KEEP == 0:
                self._keep(alarm, number)
        return alarms

    def _tell(self, alarm: Alarm, number: int) -> ChangeAlarm:
        """number: of the last picture before the alarm."""
        first = alarm.since * self._per_part
        rows = self._file.select(
            "select name, nearest, measured from pictures"
            " where number between ? and ? and measured is not null order by number",
            (first, number),
        )
        changed = [float(np.frombuffer(row[2]) @ alarm.direction) for row in rows]
        most = np.argsort(changed)[::-1][:EXAMPLES]
        examples = tuple(ChangedPicture(rows[i][0], self._train[rows[i][1]]) for i in most)
        return ChangeAlarm(
            alarm.kind, alarm.words, _now(), number, number - first + 1, rows[0][0], examples
        )

    def _keep(self, alarm: ChangeAlarm | None, number: int) -> None:
        """Keep what the detector knows after picture `number`, and no more than is needed."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self.detector.state())
        with self._file.alone():
            self._file.do("delete from detector")
            self._file.do("insert into detector values (?, ?)", (number, buffer.getvalue()))
            self._file.do(
                "delete from pictures where number <= ?", (number - LOOKED_AT * self._per_part,)
            )
            if alarm is not None:
                facts = json.dumps(asdict(alarm), ensure_ascii=False)
                facts = facts.encode("utf-8", "backslashreplace").decode()
                self._file.do("insert into alarms values (?, ?)", (number, facts))

    def _go_on(self) -> None:
        """Bring the detector to where it was."""
        number = 0
        if kept := self._file.select("select number, state from detector"):
            ((number, state),) = kept
            try:
                with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
                    self.detector.restore(dict(arrays))
            except (KeyError, ValueError, TypeError, OSError) as error:
                raise self._file.damaged(error) from error
        since = self._file.select(
            "select number, label, measured from pictures"
            " where number > ? and measured is not null order by number",
            (number,),
        )
        ((last,),) = self._file.select("select max(number) from pictures")
        self._count = last or number
        # where an alarm is found here, the end came before it could be kept
        self.untold = self._compare(
            (each, label, np.frombuffer(measured)) for each, label, measured in since
        )

    def _check(self, recognizer: str) -> None:
        about = self._file.select("select * from about")
        if len(about) != 1:
            raise self._file.damaged("nothing says of what recognizer")
        ((known, pictures_per_part),) = about
        if known != recognizer:
            raise UserError(
                f"{self._file.path}: is about the pictures of another recognizer; name another file"
            )
        if pictures_per_part != self._per_part:
            raise UserError(
                f"{self._file.path}: was begun with --pictures-per-part {pictures_per_part}, and "
                "goes on with that; or name another file"
            )


class Changes:
    """What happens to each picture after it was classified.

    recognizer: to be asked instead of the one given. log: what is known of earlier pictures.
    """

    def __init__(self, recognizer: FittedRecognizer, measure: Measure, log: ChangeLog) -> None:
        self.recognizer = noting(recognizer, self._note)
        self.log = log
        self._measure = measure
        self._seen: list[Arrival] = []

    def take(self, name: str, place: int) -> list[ChangeAlarm]:
        """Of the picture at `place` among those that the recognizer was asked for last."""
        return self.log.take([self._seen[place]._replace(name=name)])

    def _note(self, seen: Seen) -> None:
        self._seen = self._measure([""] * len(seen.squares), seen)


def open_changes(
    recognizer: FittedRecognizer, folder: Path, path: Path, options: AlarmOptions
) -> Changes:
    """Of a recognizer in a folder of `cvgssl fit`; see `ChangeLog`."""
    _, kept = load_recognizer(folder)
    measure = Measure(recognizer, kept.train.values)
    return Changes(
        recognizer, measure, ChangeLog(path, identity(folder), kept.train.names, options)
    )


def identity(folder: Path) -> str:
    """What tells the recognizer in a folder of `cvgssl fit` from others with other pictures."""
    return sha256_file(folder / TRAIN)


def alarm_of(facts: dict[str, Any]) -> ChangeAlarm:
    """As it is kept in the file."""
    examples = tuple(ChangedPicture(**each) for each in facts["examples"])
    return ChangeAlarm(**facts | {"examples": examples})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
