"""What a person says of an answer, and whether the answer is right then."""

from dataclasses import dataclass

from cvgssl.heads.verdicts import UNKNOWN
from cvgssl.images.assemble import normal
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line
from cvgssl.selection.label_list import UNSURE
from cvgssl.station.answer_rows import Answer
from cvgssl.station.labels import class_name


@dataclass(frozen=True)
class Review:
    """What somebody said of an answer.

    number: of its row. right: None where that cannot be said. label: what the picture shows: a
    class, "?" where nobody can name it, or "" where that was not said.
    """

    number: int
    at: str
    who: str
    answer: int
    right: bool | None
    label: str

    @property
    def counts(self) -> bool:
        """Whether it says anything; one that does not takes back what was said before."""
        return self.right is not None or self.label == UNSURE


def verdict(answer: Answer, label: str) -> bool | None:
    """Whether an answer is right where its picture shows `label`; see `Reviews.review`.

    "" of an "unknown" one: a class that has no name yet.
    """
    label = normal(label)
    if label == UNSURE:
        return None
    if answer.answer == UNKNOWN:
        return label not in answer.probabilities
    return label == answer.predicted_class


def label_of(answer: Answer, right: bool | None, label: str) -> str:
    """The label that goes with a verdict; raises UserError where the two contradict."""
    label = class_name(label)
    if (right is None) != (label == UNSURE):
        raise UserError("say right, wrong, or ? where nobody can name it")
    if right is None:
        return label
    if answer.answer == UNKNOWN:
        if label and right == (label in answer.probabilities):
            raise UserError(
                f"{one_line(label)!r} is {'a' if right else 'no'} class that the version knows; "
                f"then its answer is {'wrong' if right else 'right'}"
            )
        return label
    if right and not label:
        return answer.predicted_class
    if right != (label == answer.predicted_class):
        raise UserError(
            f"the most likely class is {one_line(answer.predicted_class)!r}; then the answer is "
            f"{'wrong' if right else 'right'}"
        )
    return label
