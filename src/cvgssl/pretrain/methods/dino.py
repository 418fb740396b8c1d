"""DINO (Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021)."""

import warnings

import torch
from torch import Tensor, nn

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.components import follow, frozen_copy, lightly_parts, momentum_at


class Dino(Method):
    """The student's distribution over prototypes follows that of a momentum network.

    The paper's multi-crop rule: the momentum network gets the two largest views, here the weak
    view and the first strong view, the student gets all, and every pair of two different views
    counts. So the weak view is a target of every strong view, and the first strong view of the
    weak one and of the other strong views. Published defaults: temperatures 0.1 (student) and 0.04
    (momentum network), momentum 0.9 of the centre, normalised last layer. PROTOTYPES is far below
    the paper's 65536, which would be dozens per picture here. Loss and head from lightly, with
    --mlp-dim and --out-dim (bottleneck). The paper's first epoch with a fixed last layer is left
    out.
    """

    PROTOTYPES = 4096

    def __init__(self, setup: Setup) -> None:
        config, backbone = setup.config, setup.backbone
        super().__init__(backbone)
        loss, modules = lightly_parts()

        def head() -> nn.Module:
            with warnings.catch_warnings():  # lightly uses torch's older weight norm
                warnings.simplefilter("ignore", FutureWarning)
                made: nn.Module = modules.DINOProjectionHead(
                    backbone.feature_dim, config.mlp_dim, config.out_dim, self.PROTOTYPES
                )
            return made

        self.head = head()
        target_head = head()  # its weight norm cannot be copied by deepcopy
        target_head.load_state_dict(self.head.state_dict())
        self.target = nn.Sequential(*frozen_copy(backbone), target_head.requires_grad_(False))
        self.target_momentum = config.target_momentum
        self.cross_entropy = loss.DINOLoss(self.PROTOTYPES)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Term `cross_entropy`."""
        student = [self.head(self.backbone(view)).float() for view in batch.views]
        targets = [self.target(view).float() for view in batch.views[:2]]
        with torch.autocast(student[0].device.type, enabled=False):
            return {"cross_entropy": self.cross_entropy(targets, student)}

    def after_step(self, progress: float) -> None:
        """Update the momentum network."""
        momentum = momentum_at(self.target_momentum, progress)
        follow(self.target, [self.backbone, self.head], momentum)
