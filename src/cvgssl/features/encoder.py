"""A frozen encoder as embedding needs it: network, pooling, test-time augmentation.

A command may name a network several times, to take several things from it (its output, layers, ways
of pooling): `Networks` loads it once, and `JointEncoder` runs it once for all of them.

Shape letters: B pictures, C channels (1 gray or 3), S side in pixels, D numbers of an embedding.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import PIL
import torch
from torch import Tensor, nn

from cvgssl.encoders.compiled_run import CompiledRun
from cvgssl.encoders.encoder_spec import EncoderSpec
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_frozen_encoder
from cvgssl.encoders.network_run import LayerTokens
from cvgssl.encoders.preprocessing import resized
from cvgssl.encoders.programs import TORCH
from cvgssl.features.config import AXES, Flips
from cvgssl.features.encoder_requests import EncoderRequest
from cvgssl.features.pooling import Pooling
from cvgssl.features.record import MIRROR, EncoderRecord
from cvgssl.images.geometry import Geometry, Interpolation, ResizeMode
from cvgssl.images.reader import VERSION as READER
from cvgssl.runtime.errors import naming

FORMAT = 1  # raise when the same options would give other numbers

log = logging.getLogger(__name__)


class Encoder:
    """A network and what is taken from it; never trained.

    frozen: the network, which other encoders may have in common with it. name: for people.
    program: what runs the network.
    """

    def __init__(self, frozen: FrozenEncoder, request: EncoderRequest) -> None:
        self.frozen, self.config, self.weight = frozen, request.config, request.spec.weight
        self.mirror = request.mirror
        self.name = replace(request.spec, name=request.spec.name or frozen.name).label
        pools, layers = self.config.pools, self.config.layers
        self.pooling = Pooling(frozen.backbone, pools, layers) if pools else None
        taken = (self.pooling.layers, False) if self.pooling else ((), True)
        self.program = frozen.runs.program(*taken, self.config.runtime, self.config.precision)

    @property
    def geometry(self) -> Geometry:
        """How its pictures become squares; as the weights were fine-tuned unless options differ."""
        config = self.config
        resize = self.frozen.source.card.resize if config.resize == "auto" else config.resize
        chosen = config.interpolation
        interpolation = self.frozen.interpolation if chosen == "auto" else chosen
        return Geometry(
            self.frozen.image_size,
            cast(ResizeMode, resize),
            cast(Interpolation, interpolation),
            config.bit_depth,
        )

    def record(self) -> EncoderRecord:
        """What decides its numbers besides the pictures."""
        config, frozen = self.config, self.frozen
        facts: dict[str, Any] = {
            "format": FORMAT,
            "reader": [READER, PIL.__version__],
            "encoder": {k: v for k, v in frozen.identity().items() if k != "name"},
            "geometry": asdict(self.geometry),
            "pooling": list(config.pools),
            "layers": list(self.pooling.layers) if self.pooling else [],
            "crops": [config.crops, config.crop_side if config.crops > 1 else 1.0],
            "flips": config.flips,
            "precision": config.precision,
        }
        if self.mirror:
            facts[MIRROR] = list(self.mirror)
        if self.program != TORCH:
            facts["runtime"] = self.program
        widths = self.pooling.widths if self.pooling else ()
        file, remarks = frozen.source.file, frozen.source.remarks
        return EncoderRecord(self.name, file, self.weight, widths, facts, remarks)

    def take(self, output: Tensor | None, shown: Mapping[int, LayerTokens]) -> Tensor:
        """Float32 [B, D] from a run: the backbone's own output, or layers that are shown."""
        if self.pooling is not None:
            return self.pooling.take(shown)
        assert output is not None
        return cast(Tensor, self.frozen.projection(output)).float()


class JointEncoder(nn.Module):
    """Stored pictures to embeddings by encoders whose records have the same `run`.

    members: they differ in what they take from their network, which runs once for each view.
    """

    def __init__(self, members: Sequence[Encoder]) -> None:
        super().__init__()
        self.members, self.frozen = tuple(members), members[0].frozen
        self.config, self.geometry = members[0].config, members[0].geometry
        self.mirror = members[0].mirror
        layers = {place for member in members if member.pooling for place in member.pooling.layers}
        with_output = any(member.pooling is None for member in members)
        self.run = self.frozen.runs.make(
            layers, with_output, self.config.runtime, self.config.precision
        )

    @property
    def name(self) -> str:
        """Names of the members."""
        return " + ".join(member.name for member in self.members)

    def remember(self) -> None:
        """Let `known_network` find the compiled network by its record's `network_name`.

        Only where the embedding is what that gives for the picture, or for its mirror image.
        """
        config, projection = self.config, self.frozen.projection
        whole = config.crops == 1 and config.flips == "none"
        (member, *others) = self.members
        plain = member.pooling is None and isinstance(projection, nn.Identity)
        if whole and plain and not others and isinstance(self.run, CompiledRun):
            self.run.remember(member.record().network_name)

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Uint8 [B, C, S, S] to float32 [B, D] of each member, the mean over its augmentation."""
        config = self.config
        pixels = pixels.flip(self.mirror) if self.mirror else pixels
        if self.run.program == TORCH:  # OpenVINO's threads do it picture by picture
            pixels = pixels.float() / 255
        views = augmented(pixels, config.crops, config.crop_side, config.flips)
        totals, count = self._encode(next(views)), 1
        for view in views:
            sums = zip(totals, self._encode(view), strict=True)
            totals, count = [total + values for total, values in sums], count + 1
        return [total / count for total in totals]

    def _encode(self, view: Tensor) -> list[Tensor]:
        size, interpolation = self.frozen.image_size, self.frozen.interpolation
        if view.dtype == torch.uint8 and view.shape[-1] != size:
            view = view.float() / 255
        output, shown = self.run(resized(view, size, interpolation))
        return [member.take(output, shown) for member in self.members]


def joined(encoders: Sequence[Encoder]) -> list[JointEncoder]:
    """The encoders, together where one run of a network is enough for them."""
    runs: dict[str, list[Encoder]] = {}
    for encoder in encoders:
        runs.setdefault(encoder.record().run, []).append(encoder)
    return [JointEncoder(members) for members in runs.values()]


class Networks:
    """Encoders of a command; what several of them are named by is loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[EncoderSpec, int | None], FrozenEncoder] = {}

    def load(self, request: EncoderRequest) -> Encoder:
        """Build and fill what was asked for, on the CPU; raises UserError naming its flag."""
        size = request.config.image_size
        spec = replace(request.spec, pooling="", layers=(), image_size=None, weight=1.0)
        with naming(request.flag):
            if (spec, size) not in self._loaded:
                self._loaded[spec, size] = self._shared(load_frozen_encoder(spec, size=size))
            return Encoder(self._loaded[spec, size], request)

    def _shared(self, frozen: FrozenEncoder) -> FrozenEncoder:
        """`frozen`, with the tensors of the same network if that was named in another way before.

        As FILE and as NAME=FILE, for example.
        """
        log.info("encoder %s", frozen.summary())
        for other in self._loaded.values():
            if other.identity() | {"name": ""} == frozen.identity() | {"name": ""}:
                frozen.backbone, frozen.projection = other.backbone, other.projection
                frozen.runs, frozen.run = other.runs, other.run
        return frozen


# the first points of this sequence leave no gaps, however many are taken: Roberts, "The
# unreasonable effectiveness of quasirandom sequences" (2018), powers of the plastic number
STEPS = (0.7548776662466927, 0.5698402909980532)


def augmented(pixels: Tensor, crops: int, side: float, flips: Flips) -> Iterator[Tensor]:
    """Views [B, C, s, s] of pixels [B, C, S, S], float or uint8, the same for every picture.

    crops: how many; 1 is the whole picture. side: s / S, 0..1. Every crop in each of its 1, 2, 4
    or 8 mirror images and turns.
    """
    for crop in _crops(pixels, crops, side):
        turned = (crop, crop.transpose(2, 3)) if flips == "rotations" else (crop,)
        for view in turned:
            for axes in AXES[flips]:
                yield view.flip(axes) if axes else view


def _crops(pixels: Tensor, crops: int, side: float) -> Iterator[Tensor]:
    if crops == 1:
        yield pixels
        return
    size = max(1, round(side * pixels.shape[-1]))
    spare = pixels.shape[-1] - size
    for number in range(crops):
        top, left = (round(spare * ((0.5 + number * step) % 1)) for step in STEPS)
        yield pixels[..., top : top + size, left : left + size]
