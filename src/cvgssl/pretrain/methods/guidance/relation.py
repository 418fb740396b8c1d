"""Relational distillation: which pictures of a batch are alike."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cvgssl.pretrain.contrastive import cosines, own_columns
from cvgssl.pretrain.methods.guidance.base import Guidance
from cvgssl.pretrain.methods.weights import WeightedMean


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
