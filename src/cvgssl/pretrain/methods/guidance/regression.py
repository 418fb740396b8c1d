"""Regression of the teachers' features."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvgssl.pretrain.methods.guidance.base import Guidance
from cvgssl.pretrain.methods.weights import WeightedMean


class Regression(Guidance):
    """Mean over views and pictures of 1 - cosine(W_t s + b_t, teacher t's features).

    W_t, b_t: one linear layer per teacher. More layers would let the backbone leave the work to
    the head, which is thrown away.
    """

    def __init__(
        self, student_dim: int, teacher_dims: Sequence[int], mean_over_teachers: WeightedMean
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(student_dim, dim) for dim in teacher_dims)
        self.mean_over_teachers = mean_over_teachers

    def forward(
        self,
        student: Sequence[Tensor],
        teachers: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Term `regression`, 0..2."""
        every_view = torch.cat(list(student))
        losses = [
            1 - F.cosine_similarity(head(every_view).float(), features.flatten(0, 1)).mean()
            for head, features in zip(self.heads, teachers, strict=True)
        ]
        return {"regression": self.mean_over_teachers(losses)}
