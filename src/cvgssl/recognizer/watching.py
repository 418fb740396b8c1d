"""Pictures classified one after the other, as they arrive in a folder or as they are listed.

Answers go into files that grow, and pictures into folders of their answers. Both say what was done
before, so that the same command goes on where an earlier one ended, however that was.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.features.reading import Reading
from cvgssl.images.decoding import check_readable, warn_if_dark
from cvgssl.images.listing import Inventory
from cvgssl.images.picture_options import BatchOptions
from cvgssl.recognizer.answers import path_text
from cvgssl.recognizer.growing import GrowingFile, picture_key
from cvgssl.recognizer.predict import Prediction, Recognition
from cvgssl.recognizer.sorting import Sorter
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line

if TYPE_CHECKING:
    from cvgssl.recognizer.changes import ChangeAlarm, Changes

log = logging.getLogger(__name__)

LAST_TRY = 10
"""Polls after which a file that has not changed and cannot be read is given up."""
_SLICE = 0.1  # seconds between two looks at whether to end

OnAnswer = Callable[[Prediction, Path | None], None]
"""Takes each prediction, and the place that the picture was brought to."""


@dataclass
class Line:
    """What happens to each picture, and what is known of those of before.

    outputs: answers go there first, then the picture goes to the folder of its answer, by `sorter`.
    changes: then they are compared with earlier ones; an alarm is a warning, and a line of outputs.
    counts: pictures of each answer. brightest: see `Reading`.
    """

    work: Recognition
    options: BatchOptions
    outputs: Sequence[GrowingFile]
    sorter: Sorter | None
    on_answer: OnAnswer
    changes: "Changes | None" = None
    counts: Counter[str] = field(default_factory=Counter)
    brightest: int | None = None

    def __post_init__(self) -> None:
        """Leave to each output what it alone has: the others had no time for it."""
        files = [output.answers for output in self.outputs]
        self._before = {
            key: answer
            for key, answer in (files[0] if files else {}).items()
            if all(key in others for others in files)
        }
        for answers in files:
            for key in self._before:
                del answers[key]
        if self.changes is not None:
            self._tell(self.changes.log.untold)

    def is_done(self, path: Path) -> bool:
        """Whether an earlier command classified the picture; brings it to its place if need be."""
        if not self.outputs:
            return self.sorter is not None and self.sorter.has(path)
        answer = self._before.get(picture_key(path))
        if answer is None:
            return False
        if self.sorter is not None:
            self.sorter.bring(path, answer)
        return True

    def forget(self) -> None:
        """Let what comes from now on under a name of before be a new picture."""
        self._before.clear()

    def classify(
        self, paths: Sequence[Path], claim: Callable[[Path], bool] = lambda _: True
    ) -> dict[Path, str]:
        """Classify the pictures; gives the unreadable ones with the reason.

        claim: called before something is done with a picture; false passes over it.
        """
        geometries = self.work.recognizer.geometries
        reading = Reading(paths, geometries, replace(self.options, skip_corrupt=True))
        for batch in self.work.classified(reading, lambda _: None):
            for place, prediction in enumerate(batch):
                if claim(prediction.path):
                    self._note(prediction)
                    self._compare(prediction, place)
        if reading.brightest is not None:
            self.brightest = max(self.brightest or 0, reading.brightest)
        return reading.reasons()

    def end(self) -> None:
        """Warn of dark pictures."""
        warn_if_dark(self.brightest, self.work.recognizer.geometries[0])

    def _note(self, prediction: Prediction) -> None:
        for output in self.outputs:
            output.append(prediction)
        self.counts[prediction.answer] += 1
        place = None
        if self.sorter is not None:
            place = self.sorter.bring(prediction.path, prediction.answer)
            if place is None:
                log.warning("%s: vanished before it was sorted", prediction.path)
        self.on_answer(prediction, place)

    def _compare(self, prediction: Prediction, place: int) -> None:
        if self.changes is not None:
            self._tell(self.changes.take(path_text(prediction.path), place))

    def _tell(self, alarms: "Sequence[ChangeAlarm]") -> None:
        for alarm in alarms:
            log.warning("%s", alarm.line())
            for output in self.outputs:
                output.remark(asdict(alarm))


def classify_listed(line: Line, paths: Sequence[Path]) -> None:
    """Classify the pictures `paths` that no earlier command classified.

    Raises UserError for unreadable ones, after all the others, without `skip_corrupt`.
    """
    new = [path for path in paths if not line.is_done(path)]
    reasons: dict[Path, str] = {}
    for part in _parts(new, line.options.batch_size):
        reasons |= line.classify(part)
    line.end()
    check_readable(reasons, len(paths), line.options.skip_corrupt)


def watch(line: Line, folder: Path, seconds: float, ends: Callable[[], bool]) -> None:
    """Name pictures in `folder` and below as they arrive, until `ends()`.

    seconds: between two looks at the folder. Raises UserError when there is no such folder at the
    beginning; later it may be away for a while.
    """
    if not folder.is_dir():
        raise UserError(f"--watch {folder}: {'no folder' if folder.exists() else 'no such folder'}")
    arrivals = Arrivals(folder, line.is_done)
    while not ends():
        try:
            for part in _parts(arrivals.poll(), line.options.batch_size):
                arrivals.give_up(line.classify(part, arrivals.claim))
                if ends():
                    break
        except UserError as error:  # a share is away, memory is short
            arrivals.warn(error)
        else:
            arrivals.warn(None)
            line.forget()
        _wait(seconds, ends)
    line.end()


@dataclass(frozen=True)
class _Waiting:
    """size, changed: bytes and time (ns). polls: at which it was so. tried: it cannot be read."""

    size: int
    changed: int
    polls: int = 0
    tried: bool = False


class Arrivals:
    """The pictures of a folder and what is below it, look by look."""

    def __init__(self, folder: Path, is_done: Callable[[Path], bool]) -> None:
        """is_done: whether a picture that is there at the first look was dealt with before."""
        self._folder, self._is_done = folder, is_done
        self._waiting: dict[Path, _Waiting] = {}
        self._seen: set[int] = set()  # hashes: weeks of pictures are to fit in memory
        self._first, self._trouble = True, ""

    def poll(self) -> list[Path]:
        """The new pictures that are as they were at the last poll.

        One that could not be read is given once more, after `LAST_TRY` polls. Raises UserError
        when the folder, or one in it, cannot be listed.
        """
        waiting = {}
        for path, now in self._listed():
            if self._first and self._is_done(path):
                self._seen.add(_hash(path, now))
            elif _hash(path, now) not in self._seen:
                before = self._waiting.get(path, now)
                kept = before if _is_same(before, now) else now
                waiting[path] = replace(kept, polls=kept.polls + 1)
        self._waiting, self._first = waiting, False
        return [
            path
            for path, status in waiting.items()
            if (status.polls >= 2 and not status.tried) or status.polls >= LAST_TRY
        ]

    def claim(self, path: Path) -> bool:
        """Whether the picture has not changed since the last poll; it is then done with."""
        now, then = _status(path), self._waiting[path]
        if now is None or not _is_same(now, then):
            return False
        self._seen.add(_hash(path, then))
        return True

    def give_up(self, reasons: dict[Path, str]) -> None:
        """Note which pictures cannot be read; warns of those that were tried twice."""
        for path, reason in reasons.items():
            now, then = _status(path), self._waiting[path]
            if now is None or not _is_same(now, then):
                continue  # it is gone, or being written again
            self._waiting[path] = replace(then, tried=True)
            if then.polls >= LAST_TRY:
                log.warning("%s: %s; left out", path, reason)
                self._seen.add(_hash(path, then))

    def warn(self, trouble: UserError | None) -> None:
        """Say once what is in the way; None: nothing is."""
        text = "" if trouble is None else one_line(trouble)
        if text and text != self._trouble:
            log.warning("%s; trying again", text)
        self._trouble = text

    def _listed(self) -> Iterator[tuple[Path, _Waiting]]:
        pictures = Inventory().pictures(self._folder)
        return ((path, now) for path in pictures if (now := _status(path)) is not None)


def _status(path: Path) -> _Waiting | None:
    """None for a picture that is gone, or a link that leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Waiting(status.st_size, status.st_mtime_ns)


def _is_same(now: _Waiting, then: _Waiting) -> bool:
    return (now.size, now.changed) == (then.size, then.changed)


def _hash(path: Path, now: _Waiting) -> int:
    return hash((str(path), now.size, now.changed))


def _parts(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def _wait(seconds: float, ends: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not ends() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE))
