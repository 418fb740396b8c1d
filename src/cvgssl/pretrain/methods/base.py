"""What a training step hands to a method, and what the loop needs of one.

Shape letters: B pictures of one process's batch, V views, T teachers, C channels (1 gray or 3),
s_v side of view v in pixels, D_t width of teacher t.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone


@dataclass(frozen=True)
class Batch:
    """Views of B pictures and what the teachers say about them.

    views: V times float32 0..1 [B, C, s_v, s_v]; the first is the weak one.
    teachers: T times float32 [V, B, D_t], raw features; empty for methods without teachers.
    progress: share of the whole training that is done, 0..1.
    """

    views: tuple[Tensor, ...]
    teachers: tuple[Tensor, ...]
    progress: float


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
