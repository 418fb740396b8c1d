"""The encoders of a recognizer of `cvgssl fit`, built in torch.

Shape letters: B pictures, D numbers of all encoders together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.programs import TORCH
from cvgssl.features.built_encoder import BuiltEncoder
from cvgssl.features.encoder import Encoder, JointEncoder, Networks, joined
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.record import keep_record
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.card import KeptEncoder
from cvgssl.recognizer.kept_encoders import check_same
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.launch import launch


@dataclass(frozen=True)
class BuiltEncoders:
    """See `Embedding` of `fitted`.

    encoders: in the order of the embeddings.
    together: the same on their device, where one run of a network is enough for several.
    """

    encoders: tuple[Encoder, ...]
    together: tuple[BuiltEncoder, ...]

    @property
    def runs(self) -> tuple[JointEncoder, ...]:
        """Those together."""
        return tuple(encoder.joint for encoder in self.together)

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How each picture becomes squares, one for each that differs."""
        return tuple(dict.fromkeys(encoder.geometry for encoder in self.encoders))

    def __call__(self, squares: Sequence[Sequence[Square]], /) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of the encoders side by side; squares: for `geometries`."""
        shown = dict(zip(self.geometries, squares, strict=True))
        values: dict[Encoder, NDArray[np.float32]] = {}
        for each in self.together:
            values |= zip(each.joint.members, each(shown[each.joint.geometry]), strict=True)
        return np.concatenate([values[encoder] for encoder in self.encoders], axis=1)


def build_encoders(
    kept: Sequence[KeptEncoder],
    requests: Sequence[EncoderRequest],
    gpu: int | None,
) -> BuiltEncoders:
    """Build and fill the encoders; raises UserError when one would give other numbers."""
    networks = Networks()
    encoders = tuple(map(networks.load, requests))
    by_torch = any(encoder.program == TORCH for encoder in encoders)
    accelerator = launch(gpu, requests[0].config.precision, by_torch=by_torch)
    for before, request, encoder in zip(kept, requests, encoders, strict=True):
        check_same(request.flag, before.record, encoder.record())
        keep_record(request, default_cache_dir(), encoder.record())
    return BuiltEncoders(
        encoders, tuple(BuiltEncoder(joint, accelerator) for joint in joined(encoders))
    )
