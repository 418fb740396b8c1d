"""SimCLR (Chen et al.: A Simple Framework for Contrastive Learning, ICML 2020)."""

import torch
from torch import Tensor

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import lightly_parts
from cvgssl.pretrain.methods.contrastive import concat_all


class SimClr(Method):
    """NT-Xent between views; negatives are the other pictures in both views, of all processes.

    The weak view against every strong view, mean over them; the loss is symmetric. Loss
    and 2-layer head with batch norm from lightly, with --mlp-dim and --out-dim. The temperature is
    0.5, the paper's choice for small batches and pictures (appendix B.9), not --t1.
    """

    TEMPERATURE = 0.5

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        loss, modules = lightly_parts()
        self.projector = modules.SimCLRProjectionHead(
            backbone.feature_dim, config.mlp_dim, config.out_dim
        )
        # a function, not a part of this module: the loss has an unused memory bank, whose
        # uninitialised pointer would go into every checkpoint
        self.nt_xent = loss.NTXentLoss(self.TEMPERATURE).forward

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Term `contrast`."""
        # gathered here, so that every process computes the loss of the whole batch: lightly's own
        # gathering puts its mask on the CPU and fails with several GPUs
        weak, *strong = [
            concat_all(self.projector(self.backbone(view)).float()) for view in batch.views
        ]
        with torch.autocast(weak.device.type, enabled=False):
            losses = [self.nt_xent(weak, view) for view in strong]
        return {"contrast": torch.stack(losses).mean()}
