"""Answers that people look at: which, by whom, what they say, and how often answers are right.

Looked at are all answers "unknown" and "not sure", and a random sample of all pictures, drawn by
their hashes. The share of right answers is told from the sample alone: the others were chosen
because they are difficult.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cvgssl.heads.metrics import wilson_interval
from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.runtime.files import writing
from cvgssl.selection.label_list import UNSURE
from cvgssl.station.answer_rows import REVIEW, Answer
from cvgssl.station.answers import Answers
from cvgssl.station.events import Event, EventLog
from cvgssl.station.judging import Review, label_of
from cvgssl.station.review_queue import KINDS, ReviewQueue

REVIEWED = "reviewed"


class ConflictError(Exception):
    """Somebody else has said something of the answer meanwhile; `review` is what is there now."""

    def __init__(self, review: Review | None) -> None:
        super().__init__("reviewed meanwhile")
        self.review = review


@dataclass(frozen=True)
class ShareRight:
    """How often one answer, or all that name a class (answer ""), was right, in the sample.

    right, looked_at: pictures. low, high: 95 % interval of the share in per cent (Wilson 1927).
    """

    answer: str
    right: int
    looked_at: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """In per cent."""
        return 100 * self.right / self.looked_at


class LearnedPicture(NamedTuple):
    """A label of the next fit. number: of the row of the log that says it."""

    path: str
    sha256: str
    label: str
    number: int


class Reviews:
    """What was said of answers; for any number of threads.

    Parameters
    ----------
    folder : Path
        Of the station. Pictures that were named are copied to `folder`/reviewed.
    log : Path
        Of the station.
    answers : Answers
        What there is to look at.
    share : float
        Of all pictures that are in the sample, 0..1.
    """

    def __init__(self, folder: Path, log: Path, answers: Answers, share: float) -> None:
        self.folder, self._answers = folder / REVIEWED, answers
        self.share = share
        self._log, self._lock = EventLog(log), threading.RLock()
        self._queue = ReviewQueue(self._log, answers, share)
        self._by_answer: dict[int, list[Review]] = {}
        self._judged: dict[int, Answer] = {}  # those with reviews, as they were read first
        self._reviewed: dict[str, int] = {}  # hashes of pictures, and the answer that was judged
        self._last = 0

    def review(
        self,
        number: int,
        who: str,
        right: bool | None,
        label: str = "",
        replaces: int | None = None,
    ) -> Review:
        """Say whether an answer is right, and what the picture shows.

        right: of a class or "not sure": the most likely class is the one it shows; of "unknown":
        it is of no class that the version knows; None with the label "?" alone. label: see
        `Review`; where the most likely class is right it is that.
        replaces: number of the review that the person saw, None for none.
        Raises LookupError where there is no such answer, UserError for what contradicts itself,
        and ConflictError where another review has come meanwhile.
        """
        answer = self._answers.get(number)
        label = label_of(answer, right, label)
        if label not in ("", UNSURE):
            self._copy(answer.sha256)
        with self._lock, self._log.alone():
            now = self.of(number)
            if (now.number if now else None) != replaces:
                raise ConflictError(now)
            self._log.append(REVIEW, who, answer=number, right=right, label=label)
        with self._lock:
            self._queue.release(answer.sha256)
            review = self.of(number)
            assert review is not None
            return review

    def undo(self, who: str) -> Review | None:
        """Take back a person's last review that counts, and give it; None where there is none.

        The answer is to be looked at again; undone again, the review before it goes.
        """
        with self._lock, self._log.alone():
            self._refresh()
            own = [
                reviews[-1]
                for reviews in self._by_answer.values()
                if reviews[-1].who == who and reviews[-1].counts
            ]
            last = max(own, key=lambda each: each.number, default=None)
            if last is not None:
                self._log.append(REVIEW, who, answer=last.answer, right=None, label="")
            return last

    def of(self, number: int) -> Review | None:
        """The last review of an answer that was not taken back."""
        with self._lock:
            self._refresh()
            reviews = self._by_answer.get(number, ())
            return reviews[-1] if reviews and reviews[-1].counts else None

    def history(self, number: int) -> list[Review]:
        """All that was ever said of an answer."""
        with self._lock:
            self._refresh()
            return list(self._by_answer.get(number, ()))

    def next(self, who: str, most: int = 1, kinds: Sequence[str] = KINDS) -> list[Answer]:
        """Answers for a person to look at, nobody else's for two minutes; the kinds in turn.

        Asked again, the same ones until they are reviewed. A picture is looked at once, however
        often it was answered.
        """
        with self._lock:
            self._refresh()
            return self._queue.next(self._reviewed, who, most, kinds)

    def skip(self, number: int, who: str) -> None:
        """Leave an answer to others, until the station ends; raises LookupError."""
        sha256 = self._answers.get(number).sha256
        with self._lock:
            self._queue.skip(sha256, who)

    def left(self) -> dict[str, int]:
        """Pictures of each kind that nobody has looked at, counted up to `COUNTED`."""
        with self._lock:
            self._refresh()
            return self._queue.left(self._reviewed)

    def shares(self, version: int | None = None) -> list[ShareRight]:
        """How often answers (of a version) were right, from the sample: all classes, then each.

        "unknown" and "not sure" have lines of their own; see `review` for when they are right.
        """
        with self._lock:
            self._refresh()
            judged = [
                (self._judged[number], reviews[-1].right)
                for number, reviews in self._by_answer.items()
                if reviews[-1].right is not None
            ]
        total, rights = Counter[str](), Counter[str]()
        for answer, right in judged:
            if self._queue.in_sample(answer.sha256) and version in (None, answer.version):
                names = (answer.answer, *([""] if _names_class(answer) else []))
                total.update(names)
                rights.update(names if right else ())
        order = sorted(total, key=lambda name: (name in (UNKNOWN, NOT_SURE), name))
        return [
            ShareRight(name, rights[name], total[name], *wilson_interval(rights[name], total[name]))
            for name in order
        ]

    def copy_of(self, sha256: str) -> Path | None:
        """The copy of a picture that was named, if there is one."""
        with self._lock:
            self._refresh()
            path = self.folder / sha256
            return path if sha256 in self._reviewed and path.is_file() else None

    def truths(self) -> dict[str, str]:
        """Classes of pictures by their hashes, as reviews name them."""
        return {picture.sha256: picture.label for picture in self._named()}

    def learned(self) -> list[LearnedPicture]:
        """Labels of the next fit, of the copies of pictures that were named."""
        return [picture for picture in self._named() if Path(picture.path).is_file()]

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            self._log.close()

    def _named(self) -> list[LearnedPicture]:
        with self._lock:
            self._refresh()
            named = {}
            for sha256, number in self._reviewed.items():
                last = self._by_answer[number][-1]
                if last.label not in ("", UNSURE):
                    path = str(self.folder / sha256)
                    named[sha256] = LearnedPicture(path, sha256, last.label, last.number)
            return list(named.values())

    def _copy(self, sha256: str) -> None:
        """Keep a picture for good, where it is still kept at all."""
        path = self.folder / sha256
        if not path.is_file():
            data = self._answers.pictures.read(sha256)
            if data is not None:
                with writing(path) as aside:
                    aside.write_bytes(data)

    def _refresh(self) -> None:
        """Take in what was added since, by others too."""
        for event in list(self._log.events(REVIEW, after=self._last)):
            self._take(event)

    def _take(self, event: Event) -> None:
        facts = event.facts
        number = facts["answer"]
        review = Review(event.number, event.at, event.who, number, facts["right"], facts["label"])
        self._by_answer.setdefault(number, []).append(review)
        if number not in self._judged:
            self._judged[number] = self._answers.get(number)
        sha256 = self._judged[number].sha256
        if review.counts:
            self._reviewed[sha256] = number
        elif self._reviewed.get(sha256) == number:
            del self._reviewed[sha256]
        self._last = event.number


def _names_class(answer: Answer) -> bool:
    return answer.answer not in (UNKNOWN, NOT_SURE)
