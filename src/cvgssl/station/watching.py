"""What comes from the line, from a folder and over HTTP, and what is told of when it changes.

Pictures of the folder are answered as they arrive. Everything is in the log: answers (of the folder
once for each picture), alarms and what people made of them. A kill may leave out the last pictures
from what is compared; what is told of is told once.
"""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cvgssl.images.names import comparable
from cvgssl.recognizer.answers import path_text
from cvgssl.recognizer.changes import ChangeAlarm, NamedEmbeddings, embeddings_around
from cvgssl.recognizer.measuring import Seen
from cvgssl.recognizer.recentring import Labelled, recentre
from cvgssl.recognizer.watching import Arrivals
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answering import Answering, Loaded, SentPicture
from cvgssl.station.answers import WATCH, Answer, Answers, Judged, Source, Wanted
from cvgssl.station.config import StationConfig
from cvgssl.station.delivery import Delivery, deliveries
from cvgssl.station.events import LOG, Event, EventLog
from cvgssl.station.gathering import BusyError
from cvgssl.station.lines import write_line
from cvgssl.station.review import FOLDER as REVIEWED
from cvgssl.station.sinks import ALARM
from cvgssl.station.streams import (
    CHANGES,
    Measures,
    ProgramStream,
    SourceState,
    Stream,
    change_log,
)
from cvgssl.station.watch_config import WatchOptions

WATCHED, SETTLED = "watch", "settled"
Settled = Literal["nothing", "labelled", "recentred"]
"""What people made of an alarm: nothing has to be done, or they gave labels, or re-centred."""
_STATION = "station"
_TO_LABEL = 3
_TRIES = 3600  # seconds for which a busy station is asked again
# by SQLite: to read thousands of alarms here takes 40 ms, for each new one
_TOLD = (
    "select json_extract(facts, '$.pictures') from events where kind = ?"
    f" and coalesce(json_extract(facts, '$.source'), '{WATCH}') = ?"
    " and json_extract(facts, '$.version') = ?"
    " and coalesce(json_extract(facts, '$.run_length'), 1) = ?"
)


@dataclass(frozen=True)
class SinkState:
    """name: of its kind. waiting: events that it has not delivered. trouble: why, or ""."""

    name: str
    waiting: int
    trouble: str


@dataclass(frozen=True)
class ToldAlarm:
    """number, at: of its event. source: of the pictures, `facts` name them as `Stream` does.

    version: that was live. run_length: of `AlarmOptions`. settled: what was made of it, or None;
    who: did.
    """

    number: int
    at: str
    source: Source
    version: int
    run_length: int
    facts: dict[str, Any]
    settled: str | None
    who: str | None


class Watching:
    """Sources and sinks of a station, for any number of threads.

    programs: gets what programs ask.

    Parameters
    ----------
    config, options
        Of the station, and of what is watched.
    answering, answers
        That answer, and keep answers.
    """

    def __init__(
        self, config: StationConfig, options: WatchOptions, answering: Answering, answers: Answers
    ) -> None:
        """Raises UserError for a folder that is not there, and for what a sink lacks."""
        self._folder, self._options = config.folder, options
        self._answering, self._answers = answering, answers
        self._batch, self._most_bytes = config.batch_size, config.max_megabytes * 10**6
        if options.watch is not None and not options.watch.is_dir():
            raise UserError(f"--watch {options.watch}: no such folder")
        self._log, self._lock = EventLog(config.folder / LOG), threading.Lock()
        self._deliveries: list[Delivery] = deliveries(options, config.folder, answers.pictures)
        measures = Measures()
        self.programs = ProgramStream(config.folder, options, measures, self._alarm)
        self._stream = Stream(WATCH, config.folder, options, measures, self._alarm)
        self._seen: dict[str, tuple[Seen, int]] = {}  # of one batch: where each picture is
        self._recentring = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def begin(self) -> None:
        """Watch and deliver from now on."""
        for each in self._deliveries:
            each.begin()
        self.programs.begin(self._answering.live)
        if self._options.watch is not None:
            with self._lock:
                self._log.append(WATCHED, _STATION, folder=path_text(self._options.watch))
            self._thread.start()

    def close(self) -> None:
        """End after the pictures that are being answered."""
        self._ending.set()
        for each in self._deliveries:
            each.end()
        if self._thread.is_alive():
            self._thread.join()
        self._stream.close()
        self.programs.close()
        for each in self._deliveries:
            each.close()
        with self._lock:
            self._log.close()

    @property
    def folder(self) -> str | None:
        """The one that is watched."""
        return None if self._options.watch is None else path_text(self._options.watch)

    def sources(self) -> list[SourceState]:
        """The watched folder, if there is one, and the programs."""
        watched = [] if self._options.watch is None else [self._stream.state()]
        return [*watched, self.programs.state()]

    def sinks(self) -> list[SinkState]:
        """Where answers go."""
        with self._lock:
            return [
                SinkState(each.sink.name, each.waiting(self._log), each.trouble)
                for each in self._deliveries
            ]

    def alarms(self) -> list[ToldAlarm]:
        """All, the newest first."""
        with self._lock:
            events = list(self._log.events(ALARM, SETTLED))
        settled: dict[int, Event] = {
            each.facts["alarm"]: each for each in events if each.kind == SETTLED
        }
        told = []
        for each in reversed([event for event in events if event.kind == ALARM]):
            by = settled.get(each.number)
            how = None if by is None else by.facts["how"]
            facts = dict(each.facts)
            source, version = facts.pop("source", WATCH), facts.pop("version")
            run_length = facts.pop("run_length", 1)
            who = None if by is None else by.who
            told.append(
                ToldAlarm(each.number, each.at, source, version, run_length, facts, how, who)
            )
        return told

    def example(self, alarm: ToldAlarm, name: str) -> Answer | None:
        """The newest answer to a picture that an alarm names; None where there is none."""
        if alarm.source == WATCH:
            answers = self._answers.page(Wanted(name=name, source=WATCH))
            return next((each for each in answers if each.name == name), None)
        return next(
            iter(self._answers.page(Wanted(sha256=name, source=alarm.source), None, 1)), None
        )

    def to_label(self, alarm: ToldAlarm) -> list[Answer]:
        """Up to three answers since a change whose labels would tell most: the least sure ones.

        Of different likely classes where there are some; none of those that were reviewed.
        """
        unsure = sorted(self._since(alarm, "none"), key=lambda each: each.probability)
        chosen: list[Answer] = []
        for each in unsure:
            if each.label not in [other.label for other in chosen]:
                chosen.append(each)
        chosen += [each for each in unsure if each not in chosen]
        return chosen[:_TO_LABEL]

    def labelled(self, alarm: ToldAlarm) -> int:
        """Answers since a change that people have reviewed, counted up to 1000."""
        return sum(len(self._since(alarm, each)) for each in ("right", "wrong"))

    def _since(self, alarm: ToldAlarm, review: Judged) -> list[Answer]:
        """The newest answers of an alarm's source since the change, 500 at most, by review."""
        first = self.example(alarm, alarm.facts["first"])
        newest = self._answers.page(Wanted(source=alarm.source, review=review), None, 500)
        return [each for each in newest if first is None or each.number >= first.number]

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
        alarm = next((each for each in self.alarms() if each.number == number), None)
        if alarm is None:
            raise LookupError(f"alarm {number}: there is none")
        loaded = self._answering.load(alarm.version)
        log = change_log(self._folder, alarm.source, alarm.version, alarm.run_length)
        before, after = embeddings_around(log, alarm.facts["pictures"], alarm.facts["since"])
        labelled = self._named(alarm, after, truths)
        made = self._folder / CHANGES / f"version {alarm.version} re-centred"
        shutil.rmtree(made, ignore_errors=True)  # of an earlier time
        joined = recentre(loaded.version.path, before.values, after.values, made, labelled)
        version = self._answering.add(made, who)
        shutil.rmtree(made, ignore_errors=True)
        self.settle(number, "recentred", who)
        return version.number, joined.labels

    def _named(
        self, alarm: ToldAlarm, after: NamedEmbeddings, truths: Mapping[str, str]
    ) -> Labelled:
        """The pictures since a change whose classes are known."""
        rows = after.rows()
        found: dict[str, tuple[str, int]] = {}
        for sha256, truth in truths.items():
            names = [sha256]
            if alarm.source == WATCH:
                answers = self._answers.page(Wanted(sha256=sha256, source=WATCH))
                names = [comparable(each.name) for each in answers]
            row = next((rows[name] for name in names if name in rows), None)
            if row is not None:
                # as the next fit of reviews calls them, so that pages find the pictures
                found[(self._folder / REVIEWED / sha256).as_posix()] = truth, row
        places = np.array([row for _, row in found.values()], np.intp)
        return Labelled([*found], [truth for truth, _ in found.values()], after.values[places])

    def settle(self, number: int, how: Settled, who: str) -> None:
        """Note what was made of an alarm; raises LookupError where there is none."""
        if number not in [each.number for each in self.alarms()]:
            raise LookupError(f"alarm {number}: there is none")
        with self._lock:
            self._log.append(SETTLED, who, alarm=number, how=how)

    def counts(self, hours: int = 24) -> tuple[list[str], dict[str, list[int]]]:
        """Hours (UTC, as 2026-01-31T17), the newest last, and of each answer how many in each."""
        last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        steps = [last - timedelta(hours=back) for back in reversed(range(hours))]
        names = [f"{step:%Y-%m-%dT%H}" for step in steps]
        with self._lock:
            rows = self._log.select(
                "select substr(at, 1, 13), json_extract(facts, '$.answer'), count(*) from events"
                " indexed by answers_by_time where kind = 'answer' and at >= ? group by 1, 2",
                [names[0]],
            )
        place = {name: at for at, name in enumerate(names)}
        made: dict[str, list[int]] = {}
        for hour, answer, count in rows:
            if hour in place:
                made.setdefault(answer, [0] * hours)[place[hour]] = count
        return names, dict(sorted(made.items(), key=lambda item: -sum(item[1])))

    def _work(self) -> None:
        watched = self._options.watch
        assert watched is not None
        arrivals = Arrivals(watched, self._is_answered)
        while not self._ending.is_set():
            try:
                arrived = arrivals.poll()
                for at in range(0, len(arrived), self._batch):
                    arrivals.give_up(self._name(arrived[at : at + self._batch], arrivals.claim))
                    if self._ending.is_set():
                        break
            except (UserError, OSError) as error:  # a share is away, a disk is full
                self._tell(one_line(error))
            else:
                self._tell("")
            self._ending.wait(self._options.poll_seconds)

    def _is_answered(self, path: Path) -> bool:
        """Whether an earlier process answered the file."""
        try:
            wanted = Wanted(sha256=sha256_file(path), source=WATCH)
        except OSError:
            return False
        return any(each.name == self._name_of(path) for each in self._answers.page(wanted))

    def _name_of(self, path: Path) -> str:
        """Below the folder, so that it is the same wherever the folder is mounted."""
        assert self._options.watch is not None
        return path_text(path.relative_to(self._options.watch))

    def _name(self, paths: Sequence[Path], claim: Callable[[Path], bool]) -> dict[Path, str]:
        """Answer pictures; gives the unreadable ones with the reason."""
        reasons: dict[Path, str] = {}
        pictures: list[tuple[Path, SentPicture]] = []
        for path in paths:
            try:
                if path.stat().st_size > self._most_bytes:
                    reasons[path] = f"over {self._most_bytes // 10**6} MB; see --max-megabytes"
                    continue
                pictures.append((path, SentPicture(self._name_of(path), path.read_bytes())))
            except OSError as error:
                reasons[path] = one_line(error.strerror or error)
        if not pictures:
            return reasons
        live = self._answering.live
        if live is None:
            raise UserError("no recognizer is live yet")
        loaded = self._stream.use(live, self._note)
        self._seen.clear()
        begun = time.monotonic()
        answers = self._asked([picture for _, picture in pictures], loaded)
        ms = round(1000 * (time.monotonic() - begun), 1)
        waiting = []
        for (path, picture), told in zip(pictures, answers, strict=True):
            if "error" in told:
                reasons[path] = told["error"]
            elif claim(path):
                number = self._answers.keep(
                    told, picture.data, version=loaded.version.number, source=WATCH, who=_STATION,
                    ms=ms, once=True,
                )  # fmt: skip
                waiting.append((picture.name, told, number))
        kept = []
        for name, told, number in waiting:
            if not self._is_kept(number):
                break
            kept.append((name, told["sha256"]))
            self._stream.last = datetime.now(UTC).isoformat(timespec="seconds")
        self._compare(kept)
        return reasons

    def _note(self, seen: Seen) -> None:
        """Called by the thread that recognizes."""
        self._seen.update(
            {square.digest: (seen, place) for place, square in enumerate(seen.squares)}
        )

    def _compare(self, pictures: Sequence[tuple[str, str]]) -> None:
        """pictures: name and SHA-256 of those whose answers are kept."""
        pictures_seen = [
            (name, *self._seen[sha256]) for name, sha256 in pictures if sha256 in self._seen
        ]
        if pictures_seen:
            names, batches, places = zip(*pictures_seen, strict=True)
            self._stream.take(names, _chosen(batches, places))

    def _is_kept(self, number: Future[int]) -> bool:
        """Wait until an answer is on the disk; not when the station ends while that takes none."""
        while True:
            try:
                number.result(timeout=1.0)
                return True
            except TimeoutError:
                if self._ending.is_set():
                    return False

    def _asked(self, pictures: Sequence[SentPicture], loaded: Loaded) -> list[dict[str, Any]]:
        """Answers, a few pictures at a time where others ask, too."""
        made: list[dict[str, Any]] = []
        size, until = len(pictures), time.monotonic() + _TRIES
        while len(made) < len(pictures):
            part = pictures[len(made) : len(made) + size]
            try:
                made += asyncio.run(self._answering.answer(part, loaded))
            except BusyError as busy:
                size = max(1, size // 2)
                if time.monotonic() > until or self._ending.wait(min(busy.retry_after, 5)):
                    raise MachineError("the station is busy") from busy
        return made

    def _alarm(self, source: Source, version: int, alarms: Sequence[ChangeAlarm]) -> None:
        """Add to the log what is not there: see `streams.Tell`."""
        whose = {"source": source, "version": version, "run_length": self._options.run_length}
        with self._lock:
            known = {pictures for (pictures,) in self._log.select(_TOLD, [ALARM, *whose.values()])}
            new = [each for each in alarms if each.pictures not in known]
            for alarm in new:
                self._log.append(ALARM, _STATION, **whose, **asdict(alarm))
        for alarm in new:
            write_line(level="warning", source=source, message=alarm.line())

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._stream.trouble:
            write_line(level="warning", message=f"watched folder: {trouble}; trying again")
        self._stream.trouble = trouble


def _chosen(batches: Sequence[Seen], places: Sequence[int]) -> Seen:
    """The pictures at these places of batches, in one."""
    rows = list(zip(batches, places, strict=True))
    return Seen(
        [seen.squares[place] for seen, place in rows],
        np.array([seen.labels[place] for seen, place in rows]),
        np.stack([seen.embeddings[place] for seen, place in rows]),
    )
