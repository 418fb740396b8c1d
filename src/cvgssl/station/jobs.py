"""Long work: `cvgssl` commands in processes of their own, one after the other.

The queue is in the station's log: a job is asked for by one event and ended by another. So it goes
on after the station was ended, and commands find in caches what they had computed. A command ends
with its station, however that ends, and begins again when what was left of it is gone.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.runtime.progress import EVERY
from cvgssl.runtime.stopping import WITH_INPUT
from cvgssl.station.events import Event, EventLog
from cvgssl.station.lines import write_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ASKED, ENDED = "job", "job ended"
FOLDER = "jobs"  # of what the commands say
_HERE = "{station}/"  # how the log calls the station's folder
_CANCELLED = "cancelled"
_LEFT = 30.0  # seconds in which what is left of an earlier process ends
_LOOK = 0.1  # seconds between looks whether it has
_AGAIN = 1.0  # seconds after which a disk that took no rows is asked again
_TAIL = 4000  # bytes of its output that are looked at
# a line of `runtime.progress`
_PROGRESS = re.compile(r"^(.+): (\d+) of (\d+), ([\d.]+)/s, (\d+) s left", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """done of total, per second, and seconds left."""

    done: int
    total: int
    rate: float
    left: int


@dataclass(frozen=True)
class Job:
    """number: of its event. task: what for. words: of the command. who: asked.

    state: waiting, running, done, failed or cancelled. message: the last line, where it failed.
    """

    number: int
    task: str
    words: tuple[str, ...]
    who: str
    state: str
    message: str = ""
    progress: Progress | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state not in ("waiting", "running")


class Jobs:
    """The queue of a station, and the thread that works on it.

    folder: of the station, resolved. before, after: what is to happen, by task, before a command
    begins, and when it has ended well, before the next begins; a UserError of it makes the job a
    failed one. A station that was killed in between does all of it again.
    """

    def __init__(self, folder: Path, log_path: Path) -> None:
        self.folder = folder
        self.before: dict[str, Callable[[Job], object]] = {}
        self.after: dict[str, Callable[[Job], object]] = {}
        self._log = EventLog(log_path)
        self._lock = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._running: int | None = None
        self._cancelled: set[int] = set()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def begin(self) -> None:
        """Work on what is in the queue and on what comes."""
        self._thread.start()

    def ask(self, task: str, words: Sequence[str | Path], who: str) -> int:
        """Put a command in the queue; one of the same words that is not over is not asked twice."""
        texts = [str(word) for word in words]
        with self._lock:
            for job in self._jobs():
                if not job.is_over and job.words == tuple(texts):
                    return job.number
            kept = [self._kept(word) for word in texts]
            number = self._log.append(ASKED, who, task=task, words=kept).number
            self._lock.notify_all()
        return number

    def jobs(self) -> list[Job]:
        """All, in the order in which they were asked for."""
        with self._lock:
            return self._jobs()

    def job(self, number: int) -> Job:
        """Raises LookupError where there is none."""
        job = next((job for job in self.jobs() if job.number == number), None)
        if job is None:
            raise LookupError(number)
        return job

    def cancel(self, number: int) -> None:
        """End a job that is not over; raises LookupError where there is none."""
        self.job(number)
        with self._lock:
            self._cancelled.add(number)
            if self._running == number and self._process is not None:
                self._process.terminate()
            self._lock.notify_all()

    def close(self) -> None:
        """Interrupt what runs; it begins again with the station."""
        with self._lock:
            self._ending = True
            if self._process is not None:
                self._process.terminate()
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._log.close()

    def output(self, number: int) -> str:
        """The end of what its command printed."""
        return _tail(self._place(number))

    def _jobs(self) -> list[Job]:
        asked: dict[int, Event] = {}
        ends: dict[int, Event] = {}
        for event in self._log.events(ASKED, ENDED):
            if event.kind == ASKED:
                asked[event.number] = event
            else:
                ends[event.facts["job"]] = event
        return [self._job(event, ends.get(number)) for number, event in asked.items()]

    def _job(self, asked: Event, ended: Event | None) -> Job:
        number, facts = asked.number, asked.facts
        if ended is not None:
            state, message, progress = ended.facts["state"], ended.facts["said"], None
        elif self._running == number:
            state, message, progress = "running", "", _progress(self.output(number))
        else:
            state, message, progress = "waiting", "", None
        words = tuple(self._meant(word) for word in facts["words"])
        return Job(number, facts["task"], words, asked.who, state, message, progress)

    def _kept(self, word: str) -> str:
        """A word as the log has it: paths in the station's folder stay right when that is moved."""
        inside = f"{self.folder}{os.sep}"
        return _HERE + word.removeprefix(inside) if word.startswith(inside) else word

    def _meant(self, word: str) -> str:
        inside = f"{self.folder}{os.sep}"
        return inside + word.removeprefix(_HERE) if word.startswith(_HERE) else word

    def _work(self) -> None:
        while True:
            with self._lock:
                job = self._next()
                if job is None:
                    return
                self._running = job.number
            try:
                state, message = self._run(job)
            except (UserError, MachineError, OSError) as error:
                state, message = "failed", one_line(error)
            with self._lock:
                self._process = None
                self._end(job, state, message)
                self._running = None

    def _next(self) -> Job | None:
        """The first that is not over, waited for; None at the end."""
        while not self._ending:
            try:
                job = next((job for job in self._jobs() if not job.is_over), None)
            except UserError as error:
                self._wait_for_disk(error)
                continue
            if job is not None:
                return job
            self._lock.wait()
        return None

    def _end(self, job: Job, state: str, message: str) -> None:
        """Note the end of a job; at the end of the station it stays in the queue."""
        while not self._ending:
            try:
                self._log.append(ENDED, "station", job=job.number, state=state, said=message)
                return
            except UserError as error:  # a full disk, another process that writes for long
                self._wait_for_disk(error)

    def _wait_for_disk(self, error: UserError) -> None:
        write_line(level="error", message=f"long work waits: {one_line(error)}")
        self._lock.wait(_AGAIN)

    def _run(self, job: Job) -> tuple[str, str]:
        place = self._place(job.number)
        place.parent.mkdir(exist_ok=True)
        with self._alone(place, job) as out:
            if job.task in self.before:
                self.before[job.task](job)
            with self._lock:
                if self._is_unwanted(job):
                    return _CANCELLED, ""
                self._process = process = subprocess.Popen(
                    [sys.executable, "-m", "cvgssl", *job.words],
                    stdin=subprocess.PIPE,  # which ends with this process
                    stdout=out,
                    stderr=out,
                    env=os.environ | {EVERY: "0.5", WITH_INPUT: "1"},
                    # with its workers, so that none of them outlives it
                    process_group=0 if os.name == "posix" else None,
                )
            with process:
                code = process.wait()
        message = next(reversed(_tail(place).strip().splitlines()), "")
        if job.number in self._cancelled:
            return _CANCELLED, ""
        if code not in _GOOD.get(job.words[0], (0,)):
            return "failed", message or f"exit code {code}"
        if not self._ending and job.task in self.after:
            self.after[job.task](job)
        return "done", ""

    @contextmanager
    def _alone(self, place: Path, job: Job) -> Iterator[BinaryIO]:
        """The empty file of what a command says, when no earlier process writes there any more.

        A command holds the lock on it as long as it lives, for its output is this open file.
        """
        until = time.monotonic() + _LEFT
        with place.open("ab") as out:
            while fcntl is not None and not self._is_unwanted(job):
                try:
                    fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > until:
                        raise UserError(
                            "what an earlier station had begun is still at work; end that process"
                        ) from error
                    time.sleep(_LOOK)
                except OSError:  # a file system without locks
                    break
            out.truncate(0)
            yield out

    def _is_unwanted(self, job: Job) -> bool:
        return self._ending or job.number in self._cancelled

    def _place(self, number: int) -> Path:
        return self.folder / FOLDER / f"{number}.log"


_GOOD = {"data": (0, 1)}  # exit codes; `data check` has 1 for pictures that would spoil a result


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _progress(text: str) -> Progress | None:
    lines = _PROGRESS.findall(text)
    if not lines:
        return None
    _, done, total, rate, left = lines[-1]
    return Progress(int(done), int(total), float(rate), int(left))
