"""From the options to a form of guidance."""

from collections.abc import Sequence
from typing import Literal

from cvgssl.pretrain.methods.guidance.base import Guidance
from cvgssl.pretrain.methods.guidance.regression import Regression
from cvgssl.pretrain.methods.guidance.relation import Relation
from cvgssl.pretrain.methods.weights import WeightedMean


def build_guidance(
    name: Literal["regression", "relational", "spectral"],
    temperature: float,
    student_dim: int,
    teacher_dims: Sequence[int],
    mean_over_teachers: WeightedMean,
) -> list[Guidance]:
    """The parts of a form, whose terms are added up; torch's generator decides the numbers."""
    regression = Regression(student_dim, teacher_dims, mean_over_teachers)
    if name == "regression":
        return [regression]
    return [Relation(temperature, mean_over_teachers), regression]
