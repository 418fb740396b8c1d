"""Two versions on the same pictures: which answers change, and which are right more often."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scipy.stats import binomtest

from cvgssl.heads.metrics import wilson_interval
from cvgssl.heads.verdicts import NOT_SURE, UNKNOWN
from cvgssl.runtime.parsing import parsing
from cvgssl.station.answer_rows import Wanted
from cvgssl.station.answers import Answers
from cvgssl.station.evidence import About

MOST_COMPARED = 2000  # pictures that are compared by default
_PAGE = 500
_LOOKED = 10  # times as many answers are looked at, whose pictures may be gone


class GivenAnswer(NamedTuple):
    """What a version says of a picture.

    answer: a class, "unknown" or "not sure". predicted_class: the most likely one.
    """

    answer: str
    predicted_class: str
    probability: float


class Change(NamedTuple):
    """A picture that two versions answer otherwise. truth: the class it shows, "" if unknown.

    learned: whether one of the versions learned its label, so that it shows how well that is
    remembered and not how good the version is.
    """

    picture: str
    before: GivenAnswer
    after: GivenAnswer
    truth: str
    learned: bool


@dataclass(frozen=True)
class Paired:
    """Two versions on pictures whose classes people have named.

    both, only_before, only_after, neither: pictures that they are right about. p_value: of so
    unequal a split of those where one alone is right if both were as good: exact binomial test
    (McNemar 1947, Psychometrika 12). low, high: 95 % interval of `difference`, of Newcombe 1998
    (Statistics in Medicine 17, 2635), "Improved confidence intervals for the difference between
    binomial proportions based on paired data", method 10.
    """

    both: int
    only_before: int
    only_after: int
    neither: int
    p_value: float
    low: float
    high: float

    @property
    def pictures(self) -> int:
        """All."""
        return self.both + self.only_before + self.only_after + self.neither

    @property
    def difference(self) -> float:
        """How much more often the second is right, in points of per cent."""
        return 100 * (self.only_after - self.only_before) / self.pictures


@dataclass(frozen=True)
class Comparison:
    """pictures: compared. moves: (answer before, answer after) -> pictures, the commonest first,
    only where they differ. changes: those pictures, named ones first and learned ones last. before,
    after: answers -> pictures. paired: None where no class is known. learned: pictures with known
    classes that are left out of it because one of the versions learned from them.
    """

    pictures: int
    before: dict[str, int]
    after: dict[str, int]
    moves: dict[tuple[str, str], int]
    changes: tuple[Change, ...]
    paired: Paired | None
    learned: int

    @property
    def agreement(self) -> float:
        """Share of the pictures with the same answer, per cent."""
        return 100 * (1 - len(self.changes) / self.pictures) if self.pictures else 100.0


def compare(
    before: Mapping[str, GivenAnswer],
    after: Mapping[str, GivenAnswer],
    classes: tuple[Collection[str], Collection[str]],
    truths: Mapping[str, str] | None = None,
    learned: Collection[str] = (),
) -> Comparison:
    """Hold the answers to the pictures that both have against each other.

    before, after: by hash or name of the picture. classes: that each version knows. truths:
    classes of pictures that people named. learned: pictures whose labels either version learned.
    """
    truths = truths or {}
    common = [picture for picture in before if picture in after]
    changes = [
        Change(
            picture, before[picture], after[picture], truths.get(picture, ""), picture in learned
        )
        for picture in common
        if before[picture].answer != after[picture].answer
    ]
    changes.sort(key=lambda change: (change.learned, not change.truth, -change.after.probability))
    moves = Counter((change.before.answer, change.after.answer) for change in changes)
    named = [picture for picture in common if picture in truths]
    fair = [picture for picture in named if picture not in learned]
    right_before_and_after = [
        tuple(
            is_right(answers[picture], truths[picture], known)
            for answers, known in zip((before, after), classes, strict=True)
        )
        for picture in fair
    ]
    return Comparison(
        len(common),
        dict(Counter(before[picture].answer for picture in common).most_common()),
        dict(Counter(after[picture].answer for picture in common).most_common()),
        dict(moves.most_common()),
        tuple(changes),
        _paired(right_before_and_after) if right_before_and_after else None,
        len(named) - len(fair),
    )


def is_right(given: GivenAnswer, truth: str, classes: Collection[str]) -> bool:
    """Whether an answer is right, as reviews say it.

    "unknown" is right of a class that the version does not know; of "not sure" the most likely
    class counts.
    """
    if given.answer == UNKNOWN:
        return truth not in classes
    return truth == (given.predicted_class if given.answer == NOT_SURE else given.answer)


def given_before(
    answers: Answers, version: int, most: int = MOST_COMPARED
) -> dict[str, GivenAnswer]:
    """What a version said of the newest pictures that are kept, by their hashes."""
    given: dict[str, GivenAnswer] = {}
    before, left = None, _LOOKED * most
    while left > 0 and (page := answers.page(Wanted(version=version), before, _PAGE)):
        left -= len(page)
        for answer in page:
            if answer.sha256 not in given and answers.pictures.path(answer.sha256):
                given[answer.sha256] = GivenAnswer(
                    answer.answer, answer.predicted_class, answer.probability
                )
            if len(given) == most:
                return given
        before = page[-1].number
    return given


def read_given(path: Path, folder: Path) -> dict[str, GivenAnswer]:
    """What a file of `cvgssl predict --jsonl` says, by the pictures' names below `folder`.

    Raises UserError for what is no such file.
    """
    with parsing(path, "a file of `cvgssl predict --jsonl`"), path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
        return {
            _name_below(str(row["path"]), folder): GivenAnswer(
                str(row.get("answer", row["class"])), str(row["class"]), float(row["probability"])
            )
            for row in rows
        }


def _name_below(written: str, folder: Path) -> str:
    path = Path(written)
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def learned_pictures(known: About, hashes: Mapping[str, str]) -> set[str]:
    """Hashes of the pictures whose labels a version learned, as far as they are known.

    hashes: of the pool's pictures, by name. Pictures that were reviewed are called by theirs.
    """
    return {hashes.get(name, Path(name).name) for name, _ in known.labels}


def _paired(right: Sequence[tuple[bool, ...]]) -> Paired:
    counts = Counter(right)
    both, only_before = counts[True, True], counts[True, False]
    only_after, neither = counts[False, True], counts[False, False]
    apart = only_before + only_after
    p_value = float(binomtest(only_after, apart).pvalue) if apart else 1.0
    interval = paired_interval(both, only_before, only_after, neither)
    return Paired(both, only_before, only_after, neither, p_value, *interval)


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """95 % interval of how much more often the second is right, in points; see `Paired`."""
    total = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    (low1, high1), (low2, high2) = wilson_interval(first, total), wilson_interval(second, total)
    share1, share2 = 100 * first / total, 100 * second / total
    product = first * (total - first) * second * (total - second)
    excess: float = both * neither - only_first * only_second
    if excess > 0:  # the correction for continuity of method 10
        excess = max(excess - total / 2, 0)
    phi = excess / product**0.5 if product else 0.0
    below, above = share2 - low2, high1 - share1
    under = (below**2 - 2 * phi * below * above + above**2) ** 0.5
    below, above = share1 - low1, high2 - share2
    over = (above**2 - 2 * phi * below * above + below**2) ** 0.5
    return share2 - share1 - under, share2 - share1 + over
