"""The published CVGSSL objective.

"CLIP-Vision Guided Few-Shot Metal Surface Defect Recognition", IEEE Transactions on Industrial
Informatics, 2025. Shape letters: B pictures, V views, T teachers, D width of the embeddings.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain import self_constraint
from cvgssl.pretrain.batch import Batch
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.contrastive import info_nce
from cvgssl.pretrain.heads import adapter, predictor, projector
from cvgssl.pretrain.methods.base import Method
from cvgssl.pretrain.methods.weights import WeightedMean


class Cvgssl(Method):
    """Several frozen teachers guide the weak view's embedding; the strong views follow it.

    With encoder E (backbone and projector), predictor P, weak view x_0, strong views x_1..x_m,
    h = E(x_0), p = P(h), z_tv = A_t(f_t(x_v)) the adapted features of teacher t for view v, sg
    stop-gradient and C as in `info_nce`, the loss is the sum of
        teachers  mean over t (by weight) and v of C(p, sg z_tv) + C(sg p, z_tv)
        views     mean over strong j of C(P(E(x_j)), sg h) + C(sg h, p)
        self      self_weight * mean over t (by weight) of the self-constrained loss of z_t

    Who learns from what: C(p, sg z_tv) trains backbone, projector and predictor, C(sg p, z_tv) the
    adapters alone. In `views` the first C trains backbone, projector and predictor through the
    strong view, the second the same through the predicted weak view (as key; sg h is the query
    there). `self` trains the adapters alone. The teachers' networks learn nothing.

    Every view is a pass of its own through backbone, projector, predictor and adapters, so batch
    norm sees one view at a time.
    """

    def __init__(
        self,
        config: PretrainConfig,
        backbone: Backbone,
        teacher_dims: Sequence[int],
        teacher_weights: Sequence[float],
    ) -> None:
        super().__init__(backbone)
        self.projector = projector(backbone, config.mlp_dim, config.out_dim)
        self.predictor = predictor(config.mlp_dim, config.out_dim)
        self.adapters = nn.ModuleList(
            adapter(dim, config.adapter_dim, config.out_dim) for dim in teacher_dims
        )
        self.mean_over_teachers = WeightedMean(teacher_weights)
        self.contrast = partial(info_nce, temperature=config.t1)
        self.self_weight = config.self_weight
        self.self_form = _form(config)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms `teachers`, `views` and, unless switched off, `self`."""
        weak, *strong = [self.projector(self.backbone(view)) for view in batch.views]
        predicted = self.predictor(weak)
        adapted = [
            [adapt(view) for view in features]
            for adapt, features in zip(self.adapters, batch.teachers, strict=True)
        ]
        terms = {
            "teachers": self.mean_over_teachers(
                [self._guide(predicted, views) for views in adapted]
            ),
            "views": self._agree(weak.detach(), predicted, strong),
        }
        if self.self_form is not None:
            losses = [self_constraint.self_constrained(z, self.self_form) for z in adapted]
            terms["self"] = self.self_weight * self.mean_over_teachers(losses)
        return terms

    def _guide(self, predicted: Tensor, adapted: Sequence[Tensor]) -> Tensor:
        """Mean over views of what one teacher and the student's weak view say to each other."""
        return _mean(
            self.contrast(predicted, z.detach()) + self.contrast(predicted.detach(), z)
            for z in adapted
        )

    def _agree(self, target: Tensor, predicted: Tensor, strong: Sequence[Tensor]) -> Tensor:
        """Mean over strong views of their agreement with the weak one; target: sg h."""
        backward = self.contrast(target, predicted)  # the same for every strong view
        return _mean(self.contrast(self.predictor(h), target) for h in strong) + backward


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _form(config: PretrainConfig) -> Callable[[Tensor], Tensor] | None:
    """The self-constrained loss of one pair of views; None if there is none."""
    if config.self_constraint == "none" or config.self_weight == 0:
        return None
    if config.self_constraint == "published":
        return self_constraint.published
    return partial(self_constraint.margin, width=config.margin)
