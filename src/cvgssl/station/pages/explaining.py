"""Answers and versions as pages show them, and what each rests on."""

from dataclasses import asdict
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from cvgssl.heads.verdicts import NOT_SURE
from cvgssl.runtime.errors import UserError
from cvgssl.station.answer_rows import Answer
from cvgssl.station.answering import Answering
from cvgssl.station.answers import Answers
from cvgssl.station.evidence import About, Evidence, about
from cvgssl.station.gathering import BusyError
from cvgssl.station.jobs import Job
from cvgssl.station.judging import Review
from cvgssl.station.models import Version
from cvgssl.station.review import REVIEWED, Reviews

MOST_CLASSES = 9  # whose probabilities are shown


class Explaining:
    """What versions are, what they answered, and what people said of it."""

    def __init__(self, answering: Answering, answers: Answers, reviews: Reviews) -> None:
        self.answering, self.answers, self.reviews = answering, answers, reviews
        self.evidence = Evidence(answering)
        self.about = lru_cache(maxsize=64)(about)  # versions never change

    def explained(self, number: int) -> dict[str, Any]:
        """An answer with what it rests on, as JSON values; raises LookupError."""
        answer = self.answers.get(number)
        shown = self.shown(answer)
        data = self.answers.pictures.read(answer.sha256)
        shown |= {"nearest": [], "decided": "", "relies": None, "reason": ""}
        shown["sure_from"] = None
        try:
            known = self.about(self.version(answer.version))
            shown["decided"] = known.decided() or f"{known.head} {known.encoder}".strip()
            shown["relies"] = known.relies()
            if answer.answer == NOT_SURE:
                shown["sure_from"] = self.evidence.sure_from(answer.version)
            if data is not None:
                nearest = self.evidence.nearest(data, answer.version)
                shown["nearest"] = [
                    asdict(each) | {"src": source_of(each.name)} for each in nearest
                ]
        except (UserError, LookupError, BusyError) as error:
            shown["reason"] = str(error)
        return shown

    def shown(self, answer: Answer) -> dict[str, Any]:
        """An answer as JSON values."""
        ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
        facts = asdict(answer) | {"probabilities": ranked[:MOST_CLASSES]}
        facts["kept"] = self.answers.pictures.path(answer.sha256) is not None
        facts["review"] = None
        if (review := self.reviews.of(answer.number)) is not None:
            facts["review"] = review_shown(review)
        return facts

    def version(self, number: int) -> Version:
        """Raises LookupError where there is none of that number."""
        versions = {each.number: each for each in self.answering.versions()}
        return versions[number]

    def about_number(self, number: int) -> About:
        """What is known of a version; raises LookupError, and UserError for a damaged one."""
        return self.about(self.version(number))


def source_of(name: str) -> str:
    """The address of a labelled picture: one of the pool, or one that was reviewed."""
    path = PurePosixPath(name)
    if path.parent.name == REVIEWED and len(path.name) == 64:
        return f"/kept/160/{path.name}"
    return f"/pool/160/{quote(name)}"


def review_shown(review: Review) -> dict[str, Any]:
    """A review as JSON values."""
    return {"number": review.number, "who": review.who, "at": review.at,
            "right": review.right, "label": review.label}  # fmt: skip


def job_shown(job: Job) -> dict[str, Any]:
    """A job as JSON values."""
    progress = None if job.progress is None else asdict(job.progress)
    return {"state": job.state, "message": job.message, "progress": progress}
