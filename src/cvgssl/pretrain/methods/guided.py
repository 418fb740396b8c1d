"""A backbone that learns from teachers alone: no projector, no contrast between pictures."""

from collections.abc import Sequence

from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.batch import Batch
from cvgssl.pretrain.methods.base import Method
from cvgssl.pretrain.methods.guidance.base import Guidance
from cvgssl.pretrain.methods.guidance.standardize import Standardizer


class Guided(Method):
    """Every view's features, a pass of their own each, against the teachers' of that view.

    The loss is the sum of the terms of all `guidances`; all of them train the backbone and their
    own heads. standardized: bring every dimension of the teachers' to mean 0 and variance 1.
    """

    def __init__(
        self,
        backbone: Backbone,
        teacher_dims: Sequence[int],
        guidances: Sequence[Guidance],
        standardized: bool = True,
    ) -> None:
        super().__init__(backbone)
        self.standardize = nn.ModuleList(
            Standardizer(dim) if standardized else nn.Identity() for dim in teacher_dims
        )
        self.guidances = nn.ModuleList(guidances)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of all guidances."""
        student = [self.backbone(view) for view in batch.views]
        teachers = [
            standardize(features)
            for standardize, features in zip(self.standardize, batch.teachers, strict=True)
        ]
        terms: dict[str, Tensor] = {}
        for guidance in self.guidances:
            terms |= guidance(student, teachers)
        return terms
