"""The losses of `plug_in`, imported when a run starts."""

from collections.abc import Sequence

from plug_in import AgreementOptions
from torch import Tensor, nn

from cvgssl.pretrain.methods.base import Batch, Method, Setup
from cvgssl.pretrain.methods.guided import Guided, GuidedLoss


class Agreement(Method):
    """The weak view's projection against that of the first strong view, in units of --t1."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup.backbone)
        self.projector = nn.Linear(setup.backbone.feature_dim, setup.config.out_dim)
        self.temperature = setup.config.t1
        self.sharpness = setup.options(AgreementOptions).sharpness

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weak, strong = (self.projector(self.backbone(view)).float() for view in batch.views[:2])
        distance = (weak - strong).square().mean()
        return {"agreement": self.sharpness * distance / self.temperature}


class Matching(GuidedLoss):
    """Squared distance of a linear layer to the first target."""

    def __init__(self, student_dim: int, target_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(student_dim, target_dim)

    def forward(self, student: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"matching": (self.head(student[0]).float() - targets[0][0]).square().mean()}


def matching(setup: Setup) -> Guided:
    return Guided(setup, [Matching(setup.backbone.feature_dim, setup.dims[0])])
