"""What a pre-training run works with, from the first view to the last file."""

from dataclasses import dataclass

from accelerate import Accelerator

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.views import Views


@dataclass(frozen=True)
class TrainingInputs:
    """Options, pictures, their views, and the teachers; none of it changes during a run.

    teachers: on the accelerator's device; empty for methods without.
    accelerator: device, precision and processes.
    """

    config: PretrainConfig
    data: PretrainPictures
    views: Views
    accelerator: Accelerator
    teachers: tuple[FrozenEncoder, ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return len(self.data) // self.config.batch_size
