"""The pictures of each source of a station, compared with earlier ones of the same source."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.changes import ChangeAlarm, ChangeLog, identity
from cvgssl.recognizer.config import AlarmOptions
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.recognizer.measuring import Measure, Seen, noting
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answer_rows import PROGRAM, Source
from cvgssl.station.answering import Loaded
from cvgssl.station.lines import write_line

CHANGES = "changes"
_MOST_WAITING = 16  # batches of pictures
_AGAIN = 1.0  # seconds after which a disk that took no rows is asked again

Tell = Callable[[Source, int, Sequence[ChangeAlarm]], object]
"""Takes the alarms of a source and a version; also those again that it was given before."""


def change_log(folder: Path, source: str, version: int, pictures_per_part: int = 1) -> Path:
    """Where it is in a station's folder, see `ChangeLog`; each `pictures_per_part` has its own.

    So a station may be started with another one, and again with the first.
    """
    compared = "" if pictures_per_part == 1 else f" one of {pictures_per_part}"
    return folder / CHANGES / source / f"{version:04}{compared}.alarm"


@dataclass(frozen=True)
class SourceState:
    """Of one source.

    last: when a picture came, UTC, or "". nearness: of an alarm, 0 to 1; None where pictures are
    not compared, for the `reason`. pictures: that were compared with earlier ones. trouble: what is
    in the way, or "".
    """

    source: Source
    last: str
    nearness: float | None
    pictures: int
    reason: str
    trouble: str


@dataclass(frozen=True)
class _Measured:
    """measure: of a version. names: of its train pictures. identity: see `changes.identity`."""

    version: int
    measure: Measure
    names: Sequence[str]
    identity: str


class Measures:
    """How the live version measures, made once for all sources; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _Measured | None = None

    def of(self, loaded: Loaded) -> _Measured:
        """Raises UserError where the version keeps no embeddings, or too few."""
        recognizer, version = loaded.recognizer, loaded.version
        if not isinstance(recognizer, FittedRecognizer):
            raise UserError("keeps no embeddings")
        with self._lock:
            if self._last is None or self._last.version != version.number:
                _, kept = load_recognizer(version.path)
                measure = Measure(recognizer, kept.train.values)
                whose = identity(version.path)
                self._last = _Measured(version.number, measure, kept.train.names, whose)
            return self._last


class Stream:
    """The pictures of a source, as the live version sees them; for one thread at a time.

    Parameters
    ----------
    source, folder, options
        Which one, the station's folder, and when pictures count as changed.
    measures, tell
        What all sources share; what alarms are told to.
    """

    def __init__(
        self, source: Source, folder: Path, options: AlarmOptions, measures: Measures, tell: Tell
    ) -> None:
        self._source, self._folder, self._options = source, folder, options
        self._measures, self._tell = measures, tell
        self._open: tuple[Loaded, _Measured, ChangeLog] | None = None
        self._plain: int | None = None  # a version that cannot be measured
        self._reason = ""
        self.last, self.trouble = "", ""

    def state(self) -> SourceState:
        """For another thread, too."""
        opened = self._open
        log = None if opened is None else opened[2]
        return SourceState(
            self._source,
            self.last,
            None if log is None else log.detector.nearness,
            0 if log is None else log.count,
            self._reason,
            self.trouble,
        )

    def use(self, live: Loaded, note: Callable[[Seen], object]) -> Loaded:
        """The live version, which notes what it sees where that can be compared.

        It goes on where an earlier process ended, and tells what that could not. Raises
        MachineError for a disk that takes no rows.
        """
        if self._open is not None and self._open[0].version == live.version:
            return self._open[0]
        self.close()
        if live.version.number == self._plain:
            return live
        try:
            measured = self._measures.of(live)
            number, pictures_per_part = live.version.number, self._options.pictures_per_part
            place = change_log(self._folder, self._source, number, pictures_per_part)
            log = ChangeLog(place, measured.identity, measured.names, self._options)
        except MachineError:
            raise
        except UserError as error:
            self._plain, self._reason = live.version.number, one_line(error)
            message = f"version {self._plain}, {self._source}: no alarm when pictures change"
            write_line(level="warning", message=f"{message}: {self._reason}")
            return live
        assert isinstance(live.recognizer, FittedRecognizer)
        loaded = replace(live, recognizer=noting(live.recognizer, note))
        self._open, self._plain, self._reason = (loaded, measured, log), None, ""
        with self._closed_on_error():
            self._tell(self._source, live.version.number, log.alarms())
        return loaded

    def take(self, names: Sequence[str], seen: Seen) -> None:
        """Compare pictures of these names that the version in use has seen.

        Raises MachineError for a disk that takes no rows; they are then not counted.
        """
        if self._open is None or not names:
            return
        loaded, measured, log = self._open
        with self._closed_on_error():
            if alarms := log.take(measured.measure(names, seen)):
                self._tell(self._source, loaded.version.number, alarms)

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open[2].close()
            self._open = None

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Opened again, it knows what is on the disk, and tells what could not be told."""
        try:
            yield
        except UserError:
            self.close()
            raise


class ProgramStream:
    """What programs ask, compared by a thread of its own: no answer waits for it.

    Pictures are named by their SHA-256. Those that come while the disk takes no rows are left out.
    """

    def __init__(self, folder: Path, options: AlarmOptions, measures: Measures, tell: Tell) -> None:
        self._stream = Stream(PROGRAM, folder, options, measures, tell)
        self._waiting: queue.Queue[Loaded | tuple[int, Seen] | None] = queue.Queue(_MOST_WAITING)
        self._using: Loaded | None = None
        self._meant: Loaded | None = None  # that waits to be used
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="compare", daemon=True)

    def begin(self, live: Loaded | None) -> None:
        """Compare from now on; live: the version that answers, if there is one."""
        self._thread.start()
        if live is not None:
            self._use(live)

    def asked(self, live: Loaded) -> Loaded:
        """What to ask in place of the live version; at once, for the event loop."""
        self._stream.last = datetime.now(UTC).isoformat(timespec="seconds")
        using = self._using
        if using is not None and using.version == live.version:
            return using
        self._use(live)
        return live

    def state(self) -> SourceState:
        """Of the source."""
        return self._stream.state()

    def close(self) -> None:
        """Compare what waits, then end."""
        self._ending.set()
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._stream.close()

    def _use(self, live: Loaded) -> None:
        if self._meant is not live:
            self._meant = live
            try:
                self._waiting.put_nowait(live)
            except queue.Full:
                self._meant = None  # the next request tries again

    def _note(self, version: int, seen: Seen) -> None:
        """Called by the thread that recognizes."""
        try:
            self._waiting.put_nowait((version, seen))
        except queue.Full:
            self._note_trouble("pictures come faster than they can be compared; some are left out")

    def _work(self) -> None:
        while (each := self._waiting.get()) is not None:
            try:
                if isinstance(each, Loaded):
                    note = partial(self._note, each.version.number)
                    self._using = self._stream.use(each, note)
                elif self._using is not None and self._using.version.number == each[0]:
                    self._stream.take([square.digest for square in each[1].squares], each[1])
            except UserError as error:
                self._using = self._meant = None
                self._note_trouble(one_line(error))
                self._ending.wait(_AGAIN)
            else:
                if self._waiting.empty():
                    self._note_trouble("")

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self._stream.trouble:
            write_line(level="warning", message=f"pictures of programs are not compared: {trouble}")
        self._stream.trouble = trouble
