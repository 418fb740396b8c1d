"""Encoders that were built in torch, on the device of this process.

Shapes: B pictures, D numbers of an embedding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.features.encoder import JointEncoder
from cvgssl.features.reading import stacked
from cvgssl.images.decoding import Square


class BuiltEncoder:
    """Squares to embeddings; see `Embedder`.

    Where the network was compiled, `known_encoder` finds it from now on.
    """

    def __init__(self, joint: JointEncoder, accelerator: Accelerator) -> None:
        self.joint, self._accelerator = joint.to(accelerator.device), accelerator
        joint.remember()

    @property
    def names(self) -> tuple[str, ...]:
        """See `Embedder`."""
        return tuple(member.name for member in self.joint.members)

    def __call__(self, squares: Sequence[Square], /) -> list[NDArray[np.float32]]:
        """Embeddings of readable squares by each member, float32 [B, D]."""
        pixels = torch.from_numpy(stacked(squares))
        with self._accelerator.autocast():
            embedded = self.joint(pixels.to(self._accelerator.device))
        return [values.float().cpu().numpy() for values in embedded]
