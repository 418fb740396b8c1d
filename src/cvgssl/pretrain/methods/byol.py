"""BYOL (Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020)."""

from torch import Tensor

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import (
    follow,
    frozen_copy,
    lightly_parts,
    mean_over_pairs,
    momentum_at,
)


class Byol(Method):
    """Prediction of a momentum network's projection of another view; no negatives.

    The weak view predicts every strong view and back, mean over strong views, -1 at best (the
    paper's loss is 2 + 2 times this for each direction). Loss and heads from lightly, with
    --mlp-dim and --out-dim.
    """

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        loss, modules = lightly_parts()
        hidden, out = config.mlp_dim, config.out_dim
        self.projector = modules.BYOLProjectionHead(backbone.feature_dim, hidden, out)
        self.predictor = modules.BYOLPredictionHead(out, hidden, out)
        self.target = frozen_copy(backbone, self.projector)
        self.target_momentum = config.target_momentum
        self.distance = loss.NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Term `distance`, -1..1."""
        predicted = [
            self.predictor(self.projector(self.backbone(view))).float() for view in batch.views
        ]
        targets = [self.target(view).float() for view in batch.views]
        return {"distance": mean_over_pairs(predicted, targets, self.distance)}

    def after_step(self, progress: float) -> None:
        """Update the target network."""
        momentum = momentum_at(self.target_momentum, progress)
        follow(self.target, [self.backbone, self.projector], momentum)
