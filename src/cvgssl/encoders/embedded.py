"""The small guide that comes with the package, trained on generated pictures."""

from importlib.resources import as_file, files

from cvgssl.encoders.building import encoder_from
from cvgssl.encoders.encoder_spec import EncoderSpec
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.pretrained import read_backbone

EMBEDDED = "embedded"
"""Its name, as in `--teacher embedded`."""

GUIDE = files("cvgssl.encoders") / "guide" / "guide.safetensors"
"""Its weights, float16; GUIDE.md beside them says how they came about and what they are worth."""


def embedded_guide(weight: float = 1.0, size: int | None = None) -> FrozenEncoder:
    """The guide, trained by this project on its own generated pictures; nothing is downloaded.

    weight: of its loss terms, above 0. size: side of the pictures that it sees instead of its own.
    """
    with as_file(GUIDE) as path:
        backbone_file = read_backbone(path)
        assert backbone_file.card.arch is not None
        spec = EncoderSpec(EMBEDDED, weight=weight)
        return encoder_from(spec, backbone_file.card.arch, path, backbone_file, size=size)
