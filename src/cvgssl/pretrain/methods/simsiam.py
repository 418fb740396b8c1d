"""SimSiam (Chen, He: Exploring Simple Siamese Representation Learning, CVPR 2021)."""

from torch import Tensor

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import lightly_parts, mean_over_pairs


class SimSiam(Method):
    """Prediction of another view's detached projection; no negatives, no momentum network.

    The weak view predicts every strong view and back, mean over strong views, -1 at best. Loss and
    heads from lightly: a projector with --mlp-dim and --out-dim, and a predictor whose hidden
    layer has a quarter of --out-dim, the paper's ratio.
    """

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        loss, modules = lightly_parts()
        out = config.out_dim
        self.projector = modules.SimSiamProjectionHead(backbone.feature_dim, config.mlp_dim, out)
        self.predictor = modules.SimSiamPredictionHead(out, max(out // 4, 1), out)
        self.distance = loss.NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Term `distance`, -1..1."""
        projected = [self.projector(self.backbone(view)) for view in batch.views]
        predicted = [self.predictor(z).float() for z in projected]
        fixed = [z.detach().float() for z in projected]
        return {"distance": mean_over_pairs(predicted, fixed, self.distance)}
