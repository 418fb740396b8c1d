"""A past answer again: its picture, the version that gave it, that version's labels, the same?"""

from collections.abc import Callable
from dataclasses import dataclass

from cvgssl.recognizer.golden import TOLERANCE
from cvgssl.recognizer.predict import Prediction
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.station.answer_rows import Answer
from cvgssl.station.answers import Answers
from cvgssl.station.evidence import About, about
from cvgssl.station.models import Models, Version

_ROUNDING = 1e-6  # of the probabilities that were kept


@dataclass(frozen=True)
class Again:
    """The same picture asked again.

    difference: largest one of a probability. same: whether the class is the same and no
    probability differs by more than the tolerance between programs that compute, 1e-4.
    same_answer: whether "unknown" or "not sure" is said as before.
    """

    prediction: Prediction
    difference: float
    same: bool
    same_answer: bool


@dataclass(frozen=True)
class Replayed:
    """What is known of a past answer.

    is_whole: whether the files of the version are those that were added. about: the version, with
    the labels of then; None where its files are damaged. again: None where that could not be
    done, for the `reason`. has_picture: whether its bytes are kept.
    """

    answer: Answer
    version: Version
    is_whole: bool
    about: About | None
    has_picture: bool
    again: Again | None
    reason: str


def replay(
    number: int, answers: Answers, models: Models, ask: Callable[[bytes, int], Prediction]
) -> Replayed:
    """Compute a past answer again by the version that gave it.

    ask: `Evidence.predict`. models: with a log of the calling thread.
    Raises LookupError where there is no such answer, and BusyError as `ask`.
    """
    answer = answers.get(number)
    version = models.version(answer.version)
    data = answers.pictures.read(answer.sha256)
    reason, known, again = "", None, None
    try:
        known = about(version)
        if data is None:
            reason = "the picture is not kept any more"
        else:
            again = compare_again(answer, ask(data, answer.version))
    except (UserError, LookupError) as error:
        reason = one_line(error)
    is_whole = models.is_whole(version)
    return Replayed(answer, version, is_whole, known, data is not None, again, reason)


def compare_again(answer: Answer, prediction: Prediction) -> Again:
    """Hold what is said now against what was kept."""
    now = dict(zip(prediction.classes, map(float, prediction.probabilities), strict=True))
    if now.keys() != answer.probabilities.keys():
        return Again(prediction, 1.0, same=False, same_answer=False)
    difference = max(abs(now[name] - before) for name, before in answer.probabilities.items())
    return Again(
        prediction,
        difference,
        same=prediction.predicted_class == answer.predicted_class
        and difference <= TOLERANCE + _ROUNDING,
        same_answer=prediction.answer == answer.answer,
    )
