"""What the training loop needs of a method."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.batch import Batch


class Method(nn.Module, ABC):
    """A backbone with the heads and losses that train it.

    backbone: what is kept in the end.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms, float32 scalars with their weights applied; their sum is the loss.

        With several processes each has its share of the batch; the mean over processes counts.
        """

    def after_step(self, progress: float) -> None:
        """Called after every optimizer step; progress: share of the training done, 0..1."""
