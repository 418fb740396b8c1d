"""Rows of the station's log that are answers: what each holds, and which are meant."""

import json
from dataclasses import dataclass
from typing import Final, Literal

ANSWER, REVIEW = "answer", "review"
PAGE: Final = "page"
PROGRAM: Final = "program"
WATCH: Final = "watch"
Source = Literal["page", "program", "watch"]
Judged = Literal["right", "wrong", "none"]
COLUMNS = ("number", "at", "name", "sha256", "version", "answer", "class", "probability", "source",
           "who", "ms", "review", "label")  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An answer that was kept.

    number: of its row. at: UTC, ISO 8601. who: a person's name, or "program". name: the client's
    for the picture. version: that answered. answer: a class, "unknown" or "not sure".
    predicted_class: the most likely one, `probability` its own, 0..1. ms: milliseconds that it
    took, or None.
    right: what the last review says, None where there is none. truth: the class that it names, or
    "".
    """

    number: int
    at: str
    who: str
    name: str
    sha256: str
    version: int
    answer: str
    predicted_class: str
    probability: float
    probabilities: dict[str, float]
    source: str
    ms: float | None
    right: bool | None
    truth: str

    def row(self) -> list[str | float | None]:
        """The cells of `COLUMNS`."""
        judged = None if self.right is None else "right" if self.right else "wrong"
        return [self.number, self.at, self.name, self.sha256, self.version, self.answer,
                self.predicted_class, self.probability, self.source, self.who, self.ms, judged,
                self.truth]  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which answers are meant; what is None does not matter.

    since, until: UTC as answers have it, or the beginning of such a text (a day); until is not
    included. answer: a class, "unknown" or "not sure". review: right, wrong, or none yet.
    name: part of the client's name, letters of any case.
    """

    since: str | None = None
    until: str | None = None
    answer: str | None = None
    source: str | None = None
    version: int | None = None
    sha256: str | None = None
    name: str | None = None
    review: Judged | None = None


def answer_of(
    number: int, at: str, who: str, text: str, right: int | None, truth: str | None
) -> Answer:
    """Of the cells of a row: what its facts are, and the last review's `right` and label."""
    facts = json.loads(text)
    return Answer(
        number,
        at,
        who,
        facts["name"],
        facts["sha256"],
        facts["version"],
        facts["answer"],
        facts["class"],
        facts["probability"],
        facts["probabilities"],
        facts["source"],
        facts["ms"],
        None if right is None else bool(right),
        "" if right is None else truth or "",
    )
