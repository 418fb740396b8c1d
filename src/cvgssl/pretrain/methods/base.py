"""What a method is built from, what a training step gives it, and what the loop needs of one.

Shape letters: B pictures of one process's batch, V views, T targets, C channels (1 gray or 3),
s_v side of view v in pixels, D_t width of target t.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from cvgssl.encoders.backbone import Backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """What a method is built from.

    dims, weights: width and weight, above 0, of each of the T targets; empty for methods that
        compare views with each other.
    """

    config: PretrainConfig
    backbone: Backbone
    dims: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

    def options(self, kind: type[T]) -> T:
        """The options that the method's declaration adds, `kind` being its `options`.

        Raises UserError when the run was started from Python without them.
        """
        if not isinstance(self.config, kind):
            raise UserError(
                f"--builder {self.config.builder}: has options of its own; make the options by "
                "pretrain.config.pretrain_config()"
            )
        return self.config


@dataclass(frozen=True)
class Batch:
    """Views of B pictures and the targets that they are compared with.

    views: V times float32 0..1 [B, C, s_v, s_v]; the first is the weak one.
    targets: T times float32 [V, B, D_t]: raw embeddings of the teachers, or a map of all pictures;
        empty for methods that compare views with each other.
    progress: share of the whole training that is done, 0..1.
    """

    views: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    progress: float


class Method(nn.Module, ABC):
    """A backbone with the heads and losses that train it.

    backbone: the part that is saved for later use. A class that the registry names takes a `Setup`.
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
