"""What every form of guidance looks like."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Guidance(nn.Module, ABC):
    """Loss of a student's features against those of its teachers, for the same views.

    Shape letters: B pictures of one process's batch, V views, T teachers, D width of the student,
    D_t width of teacher t.
    """

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teachers: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named loss terms, float32 scalars; their mean over processes counts.

        student: V times [B, D], pooled features of the backbone, with gradient.
        teachers: T times float32 [V, B, D_t], standardized features, without gradient.
        """
