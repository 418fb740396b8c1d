"""MoCo v3 (Chen, Xie, He: An Empirical Study of Training Self-Supervised Vision Transformers,
ICCV 2021), written from algorithm 1 and section 4 of the paper."""

from torch import Tensor

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import (
    follow,
    frozen_copy,
    mean_over_pairs,
    momentum_at,
    predictor,
    projector,
)
from cvgssl.pretrain.methods.contrastive import info_nce


class MocoV3(Method):
    """Contrast of queries with the keys of a momentum encoder.

    With queries q = P(E(x)) and keys k = E'(x), E' the momentum copy of backbone and projector,
    and C as in `info_nce`, the loss is the mean over strong views j of C(q_0, k_j) + C(q_j, k_0):
    the weak view 0 against every strong view, and back. Its heads are those of `components` with
    --mlp-dim and --out-dim; the temperature is --t1 (1 in the published ResNet recipe, 0.2 for
    transformers). The frozen patch embedding that the paper advises for transformers is left out,
    as it would keep weights of --pretrained from being adapted.
    """

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        self.projector = projector(backbone, config.mlp_dim, config.out_dim)
        self.predictor = predictor(config.mlp_dim, config.out_dim)
        self.target = frozen_copy(backbone, self.projector)
        self.target_momentum = config.target_momentum
        self.temperature = config.t1

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Term `contrast`."""
        queries = [self.predictor(self.projector(self.backbone(view))) for view in batch.views]
        keys = [self.target(view) for view in batch.views]
        loss = mean_over_pairs(
            queries, keys, lambda query, key: info_nce(query, key, self.temperature)
        )
        return {"contrast": 2 * loss}

    def after_step(self, progress: float) -> None:
        """Update the momentum encoder."""
        momentum = momentum_at(self.target_momentum, progress)
        follow(self.target, [self.backbone, self.projector], momentum)
