"""CVGSSL as published: contrast between views, teachers and pictures, and the self-constraint.

"CLIP-Vision Guided Few-Shot Metal Surface Defect Recognition", IEEE Transactions on Industrial
Informatics, 2025. Shape letters: B pictures of one process's batch, W processes, V views,
T teachers, D width of what is compared.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import WeightedMean, adapter, predictor, projector
from cvgssl.pretrain.methods.contrastive import cosines, info_nce, own_columns

# of the soft hinge: log(1 + exp(10 x)) / 10 is below 0.01 for x < -0.24
SHARPNESS = 10.0


def published(similarities: Tensor) -> Tensor:
    """Mean over i of -log softmax_j(s_ij) at j = argmax_j s_ij; float32 scalar.

    The target is the largest of the cosines themselves, whichever picture it belongs to: the loss
    sharpens the assignment that there is and cannot pull two views of one picture together. It is
    here for reproduction.
    similarities: float32 [B, W * B], s_ij = cosine of picture i in one view and j in the next.
    """
    return F.cross_entropy(similarities, similarities.detach().argmax(dim=1))


def margin(similarities: Tensor, width: float) -> Tensor:
    """Mean over i of softhinge(max over j != i of s_ij + width - s_ii); float32 scalar.

    Two views of one picture should be more similar than its hardest negative, by `width`.
    softhinge(x) = log(1 + exp(k x)) / k with k = SHARPNESS.
    similarities: float32 [B, W * B], as in `published`; width: of cosines, 0..2.
    """
    columns = own_columns(len(similarities), similarities.device)[:, None]
    positive = similarities.gather(1, columns).squeeze(1)
    hardest = similarities.scatter(1, columns, -torch.inf).amax(dim=1)
    return F.softplus(hardest + width - positive, beta=SHARPNESS).mean()


def self_constrained(views: Sequence[Tensor], form: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `form` over pairs of consecutive views; float32 scalar.

    views: V times [B, D], adapted embeddings of one teacher. It is meant to keep distances within
    a class and between classes apart.
    """
    return torch.stack([form(cosines(a, b)) for a, b in pairwise(views)]).mean()


class Cvgssl(Method):
    """Several frozen teachers guide the weak view's embedding, which guides the strong views.

    With encoder E (backbone and projector), predictor P, weak view x_0, strong views x_1..x_m,
    h = E(x_0), p = P(h), z_tv = A_t(f_t(x_v)) the adapted features of teacher t for view v, sg
    stop-gradient and C as in `info_nce`, the loss is the sum of
        teachers  mean over t (by weight) and v of C(p, sg z_tv) + C(sg p, z_tv)
        views     mean over strong j of C(P(E(x_j)), sg h) + C(sg h, p)
        self      self_weight * mean over t (by weight) of the self-constrained loss of z_t

    Gradients: C(p, sg z_tv) trains backbone, projector and predictor, C(sg p, z_tv) only
    the adapters. In `views` the first C trains backbone, projector and predictor through the
    strong view, the second the same through the predicted weak view (as key; sg h is the query
    there). `self` trains only the adapters. The teachers' networks learn nothing.

    Every view is a pass of its own through backbone, projector, predictor and adapters, so batch
    norm sees one view at a time.
    """

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        self.projector = projector(backbone, config.mlp_dim, config.out_dim)
        self.predictor = predictor(config.mlp_dim, config.out_dim)
        self.adapters = nn.ModuleList(
            adapter(dim, config.adapter_dim, config.out_dim) for dim in setup.dims
        )
        self.mean_over_teachers = WeightedMean(setup.weights)
        self.contrast = partial(info_nce, temperature=config.t1)
        self.self_weight = config.self_weight
        self.self_constraint = _self_constraint(config)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms `teachers`, `views` and, unless switched off, `self`."""
        weak, *strong = [self.projector(self.backbone(view)) for view in batch.views]
        predicted = self.predictor(weak)
        adapted = [
            [adapt(view) for view in features]
            for adapt, features in zip(self.adapters, batch.targets, strict=True)
        ]
        terms = {
            "teachers": self.mean_over_teachers(
                [self._guide(predicted, views) for views in adapted]
            ),
            "views": self._agree(weak.detach(), predicted, strong),
        }
        if self.self_constraint is not None:
            losses = [self_constrained(z, self.self_constraint) for z in adapted]
            terms["self"] = self.self_weight * self.mean_over_teachers(losses)
        return terms

    def _guide(self, predicted: Tensor, adapted: Sequence[Tensor]) -> Tensor:
        """Mean over views of the contrast of the student's weak view with one teacher."""
        return _mean(
            self.contrast(predicted, z.detach()) + self.contrast(predicted.detach(), z)
            for z in adapted
        )

    def _agree(self, target: Tensor, predicted: Tensor, strong: Sequence[Tensor]) -> Tensor:
        """Mean over strong views of their contrast with the weak one; target: sg h."""
        backward = self.contrast(target, predicted)  # the same for every strong view
        return _mean(self.contrast(self.predictor(h), target) for h in strong) + backward


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _self_constraint(config: PretrainConfig) -> Callable[[Tensor], Tensor] | None:
    """The self-constrained loss of one pair of views; None where it is left out."""
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "published": published,
        "margin": partial(margin, width=config.margin),
    }
    return forms.get(config.self_constraint) if config.self_weight else None
