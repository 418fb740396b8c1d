"""What comes from the line, from a folder and over HTTP, and what is reported when it changes.

Pictures of the folder are answered as they arrive. Everything is in the log: answers (of the folder
once for each picture), alarms and what people made of them. A kill may leave out the last pictures
from what is compared; each alarm is reported once.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.recognizer.answers import path_text
from cvgssl.recognizer.measuring import Seen
from cvgssl.recognizer.watching import Arrivals
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.files import sha256_file
from cvgssl.runtime.parsing import one_line
from cvgssl.station.alarms import STATION, Alarms
from cvgssl.station.answer_rows import WATCH, Wanted
from cvgssl.station.answering import Answering, Loaded, SentPicture
from cvgssl.station.answers import Answers
from cvgssl.station.config import StationConfig
from cvgssl.station.delivery import Delivery, deliveries
from cvgssl.station.events import LOG, EventLog
from cvgssl.station.gathering import BusyError
from cvgssl.station.lines import write_line
from cvgssl.station.streams import (
    Measures,
    ProgramStream,
    SourceState,
    Stream,
)
from cvgssl.station.watch_config import WatchOptions

WATCHED = "watch"
_TRIES = 3600  # seconds for which a busy station is asked again


@dataclass(frozen=True)
class SinkState:
    """name: of its kind. waiting: events that it has not delivered. trouble: why, or ""."""

    name: str
    waiting: int
    trouble: str


class Watching:
    """Sources and sinks of a station, for any number of threads.

    programs: gets what programs ask. alarms: see `Alarms`.

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
        self.alarms = Alarms(config.folder, options.pictures_per_part, answering, answers)
        measures = Measures()
        self.programs = ProgramStream(config.folder, options, measures, self.alarms.add)
        self._stream = Stream(WATCH, config.folder, options, measures, self.alarms.add)
        self._seen: dict[str, tuple[Seen, int]] = {}  # of one batch: where each picture is
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def begin(self) -> None:
        """Watch and deliver from now on."""
        for delivery in self._deliveries:
            delivery.begin()
        self.programs.begin(self._answering.live)
        if self._options.watch is not None:
            with self._lock:
                self._log.append(WATCHED, STATION, folder=path_text(self._options.watch))
            self._thread.start()

    def close(self) -> None:
        """End after the pictures that are being answered."""
        self._ending.set()
        for delivery in self._deliveries:
            delivery.end()
        if self._thread.is_alive():
            self._thread.join()
        self._stream.close()
        self.programs.close()
        for delivery in self._deliveries:
            delivery.close()
        self.alarms.close()
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
                SinkState(delivery.sink.name, delivery.waiting(self._log), delivery.trouble)
                for delivery in self._deliveries
            ]

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
        return any(answer.name == self._name_of(path) for answer in self._answers.page(wanted))

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
        for (path, picture), answer in zip(pictures, answers, strict=True):
            if "error" in answer:
                reasons[path] = answer["error"]
            elif claim(path):
                number = self._answers.keep(
                    answer, picture.data, version=loaded.version.number, source=WATCH, who=STATION,
                    ms=ms, once=True,
                )  # fmt: skip
                waiting.append((picture.name, answer["sha256"], number))
        kept = []
        for name, sha256, number in waiting:
            if not self._is_kept(number):
                break
            kept.append((name, sha256))
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
