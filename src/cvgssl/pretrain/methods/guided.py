"""A backbone that learns from teachers alone, by regression or by relations between pictures.

Shape letters: B pictures of one process's batch, V views, T teachers, D width of the student,
D_t width of teacher t.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.methods.base import Batch, Method
from cvgssl.pretrain.methods.contrastive import cosines, own_columns, process_count
from cvgssl.pretrain.methods.parts import WeightedMean


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


class Standardizer(nn.Module):
    """Features with mean 0 and variance 1 in every dimension, over all that it has seen.

    A frozen teacher's features of random views do not drift, so their moments are simply summed
    up over the whole training, over all processes (Chan, Golub, LeVeque 1983). They are part of
    `state_dict()`. In eval mode nothing is added.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Float32 [..., D] to the same shape; these features count among those seen."""
        if self.training:
            self._add(features.flatten(0, -2))
        # a dimension that hardly varies stays small instead of becoming amplified noise
        least = 1e-6 * self.variance.mean()
        return (features - self.mean) * torch.rsqrt(self.variance + least)

    def _add(self, features: Tensor) -> None:
        count = len(features) * process_count()
        mean = _sum_over_processes(features.sum(0)) / count
        squares = _sum_over_processes((features - mean).square().sum(0))
        total = self.count + count
        share = count / total  # 1 the first time
        difference = mean - self.mean
        self.variance.mul_(1 - share).add_(squares / total)
        self.variance.add_(difference.square() * share * (1 - share))
        self.mean.add_(difference * share)
        self.count.copy_(total)


def _sum_over_processes(values: Tensor) -> Tensor:
    if process_count() > 1:
        dist.all_reduce(values)
    return values


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


class Relation(Guidance):
    """Mean over views v and pictures i of KL(p_i || q_i), a distribution over the batch each.

    With teacher features t and student features s of view v,
        p_ij = softmax over j != i of cosine(t_i, t_j) / temperature, q_ij the same with s.
    The idea is that of similarity-preserving and relational distillation (Tung and Mori 2019;
    Park et al. 2019); pictures that the teacher finds alike are not pushed apart, as InfoNCE
    does. The features of all processes are compared.
    """

    def __init__(self, temperature: float, mean_over_teachers: WeightedMean) -> None:
        super().__init__()
        self.temperature = temperature
        self.mean_over_teachers = mean_over_teachers

    def forward(
        self,
        student: Sequence[Tensor],
        teachers: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Term `relation`, at least 0."""
        # the backbone's own features: few-shot heads will compare these; a projection goes here
        compared = [self._log_distribution(features) for features in student]
        losses = [
            torch.stack(
                [
                    F.kl_div(own, self._log_distribution(view), log_target=True, reduction="sum")
                    / len(own)
                    for own, view in zip(compared, views, strict=True)
                ]
            ).mean()
            for views in teachers
        ]
        return {"relation": self.mean_over_teachers(losses)}

    def _log_distribution(self, features: Tensor) -> Tensor:
        """[B, D] to log-probabilities of all processes' pictures but itself [B, W * B - 1]."""
        similarities = cosines(features, features)
        others = torch.arange(similarities.shape[1] - 1, device=features.device)
        own = own_columns(len(features), features.device)[:, None]
        kept = similarities.gather(1, others + (others >= own))
        return F.log_softmax(kept / self.temperature, dim=1)


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


class Guided(Method):
    """Every view's features, a pass of their own each, against the teachers' of that view.

    The loss is the sum of the terms of all `guidances`; all of them train the backbone and their
    own heads. standardized: bring every dimension of the teachers' to mean 0 and variance 1.
    """

    def __init__(
        self,
        backbone: Backbone,
        teacher_dims: Sequence[int],
        guidances: Sequence[Guidance],
        standardized: bool = True,
    ) -> None:
        super().__init__(backbone)
        self.standardize = nn.ModuleList(
            Standardizer(dim) if standardized else nn.Identity() for dim in teacher_dims
        )
        self.guidances = nn.ModuleList(guidances)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of all guidances."""
        student = [self.backbone(view) for view in batch.views]
        teachers = [
            standardize(features)
            for standardize, features in zip(self.standardize, batch.teachers, strict=True)
        ]
        terms: dict[str, Tensor] = {}
        for guidance in self.guidances:
            terms |= guidance(student, teachers)
        return terms
