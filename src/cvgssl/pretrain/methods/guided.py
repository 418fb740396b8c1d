"""A backbone that learns only targets, by regression and by relations between pictures.

Targets are the embeddings of frozen teachers, or a map of all pictures. Shape letters: B pictures
of one process's batch, W processes, V views, T targets, D width of the student, D_t width of
target t.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import WeightedMean
from cvgssl.pretrain.methods.contrastive import cosines, own_columns, process_count


class GuidedLoss(nn.Module, ABC):
    """Loss of a student's features against the targets of the same views."""

    @abstractmethod
    def forward(self, student: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named loss terms, float32 scalars; their mean over processes counts.

        student: V times [B, D], pooled features of the backbone, with gradient.
        targets: T times float32 [V, B, D_t], without gradient.
        """


class Standardizer(nn.Module):
    """Brings features to mean 0 and variance 1 in every dimension.

    A frozen teacher's features of random views do not drift, so mean and variance are those of all
    features of the whole training, of all processes (merged as in Chan, Golub, LeVeque 1983). They
    are part of `state_dict()`. In eval mode they are not updated.
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
        """Float32 [..., D] to the same shape; in train mode updates mean and variance first."""
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


class Regression(GuidedLoss):
    """Mean over views and pictures of 1 - cosine(W_t s + b_t, target t).

    W_t, b_t: one linear layer per target. With more layers the backbone could leave the work to
    the head, which is discarded after training.
    """

    def __init__(
        self, student_dim: int, target_dims: Sequence[int], mean_over_targets: WeightedMean
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(student_dim, dim) for dim in target_dims)
        self.mean_over_targets = mean_over_targets

    def forward(self, student: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """Term `regression`, 0..2."""
        every_view = torch.cat(list(student))
        losses = [
            1 - F.cosine_similarity(head(every_view).float(), features.flatten(0, 1)).mean()
            for head, features in zip(self.heads, targets, strict=True)
        ]
        return {"regression": self.mean_over_targets(losses)}


class Relation(GuidedLoss):
    """Mean over views v and pictures i of KL(p_i || q_i), distributions over the batch.

    With targets t and student features s of view v,
        p_ij = softmax over j != i of cosine(t_i, t_j) / temperature, q_ij the same with s.
    The idea is that of similarity-preserving and relational distillation (Tung and Mori 2019;
    Park et al. 2019). Unlike InfoNCE it does not push apart pictures whose targets are similar.
    The batch is that of all processes. temperature: above 0.
    """

    def __init__(self, temperature: float, mean_over_targets: WeightedMean) -> None:
        super().__init__()
        self.temperature = temperature
        self.mean_over_targets = mean_over_targets

    def forward(self, student: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """Term `relation`, at least 0."""
        # the backbone's own features, without a projection head: few-shot heads will compare these
        predicted = [self._log_distribution(features) for features in student]
        losses = [
            torch.stack(
                [
                    F.kl_div(
                        prediction, self._log_distribution(view), log_target=True, reduction="sum"
                    )
                    / len(prediction)
                    for prediction, view in zip(predicted, views, strict=True)
                ]
            ).mean()
            for views in targets
        ]
        return {"relation": self.mean_over_targets(losses)}

    def _log_distribution(self, features: Tensor) -> Tensor:
        """[B, D] to log-probabilities of all processes' pictures but itself [B, W * B - 1]."""
        similarities = cosines(features, features)
        others = torch.arange(similarities.shape[1] - 1, device=features.device)
        columns = own_columns(len(features), features.device)[:, None]
        kept = similarities.gather(1, others + (others >= columns))
        return F.log_softmax(kept / self.temperature, dim=1)


class Guided(Method):
    """Every view's features, each view in a pass of its own, against the targets of that view.

    The loss is the sum of the terms of all `losses`, which train the backbone and their own heads.
    standardized: bring every dimension of the targets to mean 0 and variance 1.
    """

    def __init__(
        self, setup: Setup, losses: Sequence[GuidedLoss], standardized: bool = True
    ) -> None:
        super().__init__(setup.backbone)
        self.standardize = nn.ModuleList(
            Standardizer(dim) if standardized else nn.Identity() for dim in setup.dims
        )
        self.guidances = nn.ModuleList(losses)  # the name is that of saved runs

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of all losses."""
        student = [self.backbone(view) for view in batch.views]
        targets = [
            standardize(features)
            for standardize, features in zip(self.standardize, batch.targets, strict=True)
        ]
        terms: dict[str, Tensor] = {}
        for loss in self.guidances:
            terms |= loss(student, targets)
        return terms


def regression(setup: Setup) -> Guided:
    """Regression of the teachers' embeddings."""
    return Guided(setup, [_regression(setup)])


def relational(setup: Setup) -> Guided:
    """Relations between pictures, and regression, of the teachers' embeddings."""
    return Guided(setup, _relation_and_regression(setup))


def spectral(setup: Setup) -> Guided:
    """The same of a map of all pictures, whose scale is part of it."""
    return Guided(setup, _relation_and_regression(setup), standardized=False)


def _regression(setup: Setup) -> Regression:
    return Regression(setup.backbone.feature_dim, setup.dims, WeightedMean(setup.weights))


def _relation_and_regression(setup: Setup) -> list[GuidedLoss]:
    relation = Relation(setup.config.relation_temperature, WeightedMean(setup.weights))
    return [relation, _regression(setup)]
