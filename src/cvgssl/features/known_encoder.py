"""An encoder that an earlier command compiled: found in the cache folder, without torch.

torch's import and the network's construction take longer than some hundred pictures.

Shapes: B pictures, D numbers of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.compiled_network import CompiledNetwork, known_network
from cvgssl.features.config import Axes
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.reading import stacked
from cvgssl.features.record import EncoderRecord
from cvgssl.images.decoding import Square


@dataclass(frozen=True)
class KnownEncoder:
    """Squares to embeddings; see `Embedder`.

    record: of the encoder. mirror: axes of pictures [B, C, S, S] that are mirrored first.
    """

    record: EncoderRecord
    network: CompiledNetwork
    mirror: Axes = ()

    @property
    def names(self) -> tuple[str]:
        """See `Embedder`."""
        return (self.record.name,)

    def __call__(self, squares: Sequence[Square], /) -> tuple[NDArray[np.float32]]:
        """Embeddings of readable squares, float32 [B, D]."""
        pixels = stacked(squares)
        (values,) = self.network(np.flip(pixels, self.mirror) if self.mirror else pixels)
        return (values,)


def known_encoder(request: EncoderRequest, record: EncoderRecord) -> KnownEncoder | None:
    """The encoder of a request that had this record before; None where torch is needed."""
    config = request.config
    if config.gpu is not None:
        return None
    network = known_network(record.network_name, config.runtime, config.precision)
    return None if network is None else KnownEncoder(record, network, request.mirror)
