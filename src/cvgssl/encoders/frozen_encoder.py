"""A frozen vision encoder: pixels to embeddings.

Shape letters: B views, C channels (1 gray or 3), s side of a view, D numbers of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from cvgssl.encoders.activations import activation
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.network_run import LayerTokens, Run
from cvgssl.encoders.normalization import Normalization
from cvgssl.encoders.preprocessing import resized
from cvgssl.encoders.runs import Runs
from cvgssl.encoders.weights_card import WeightsCard
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime


class TokenPooling(Protocol):
    """What makes an embedding of the tokens of `layers`, which are places from 0."""

    layers: tuple[int, ...]

    def take(self, shown: Mapping[int, LayerTokens]) -> Tensor:
        """Float32 [B, D] from a run that shows these layers."""


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of an encoder are from; they are random without a file.

    file, sha256, layout: of the weights. card: what cvgssl wrote into the file.
    network: which copy of a checkpoint that holds several, else empty. remarks: what every command
        says of the file: that choice, and what had to be assumed.
    notes: what was decided on loading, for the log.
    """

    file: str | None = None
    sha256: str | None = None
    layout: str | None = None
    card: WeightsCard = field(default_factory=WeightsCard)
    network: str = ""
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class FrozenEncoder(nn.Module):
    """Views to embeddings: resized to its own size, normalised, encoded; never trained.

    name: as asked for, `ViT-B/32` for example. weight: of its loss terms.
    widths: of the parts of an embedding, several where inner layers are pooled; their sum is D.
    interpolation: `bicubic` or `bilinear`. source: where its weights are from.
    runs: all of the backbone. run: that of `forward`, by torch until `choose_runtime`.
    """

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        projection: nn.Module | None = None,
        interpolation: str = "bicubic",
        weight: float = 1.0,
        source: WeightsSource | None = None,
    ) -> None:
        assert interpolation in ("bicubic", "bilinear")
        super().__init__()
        self.backbone = backbone
        self.projection = projection or nn.Identity()
        self.name, self.weight, self.interpolation = name, weight, interpolation
        self.source = source or WeightsSource()
        for child in self.children():
            child.requires_grad_(False).eval()
        self.training = False
        self.pooling: TokenPooling | None = None
        self.runs = Runs(backbone, name)
        self.run: Run = self.runs.make()
        self.pooled_how: dict[str, Any] = {}
        width = int(self.projection(torch.zeros(1, backbone.feature_dim)).shape[1])
        self.widths: tuple[int, ...] = (width,)

    def pool(self, pooling: TokenPooling, widths: Sequence[int], how: Mapping[str, Any]) -> None:
        """From now on embed by `pooling` of inner layers, in place of output and projection.

        widths: of the parts that it concatenates. how: JSON values that identify it.
        """
        self.pooling, self.widths, self.pooled_how = pooling, tuple(widths), dict(how)
        self.run = self.runs.make(pooling.layers, with_output=False)

    def choose_runtime(self, runtime: Runtime, precision: str) -> None:
        """From now on run the network by torch or by OpenVINO, see `Runs`; raises UserError."""
        layers = self.pooling.layers if self.pooling else ()
        self.run = self.runs.make(layers, self.pooling is None, runtime, precision)

    @property
    def dim(self) -> int:
        """D, numbers of an embedding."""
        return sum(self.widths)

    @property
    def arch(self) -> str:
        """Name that `build_backbone` takes."""
        return self.backbone.arch

    @property
    def image_size(self) -> int:
        """Side of the pictures that it sees, pixels."""
        return self.backbone.image_size

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation that it applies to pixels in 0..1."""
        return self.backbone.normalization

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Do nothing: a frozen encoder is always in eval mode."""
        return self

    def forward(self, views: Tensor) -> Tensor:
        """Float 0..1 [B, C, s, s] of any s to float32 [B, D], outside of any gradient."""
        assert views.is_floating_point()
        with torch.inference_mode():
            output, shown = self.run(resized(views, self.image_size, self.interpolation))
            if self.pooling is None:
                embedding: Tensor = self.projection(output).float()
            else:
                embedding = self.pooling.take(shown)
        return embedding.clone()  # a tensor made in inference mode could not enter an adapter

    def identity(self) -> dict[str, Any]:
        """All that decides its embeddings, as JSON values, to be recorded and compared."""
        copy = {"network": self.source.network} if self.source.network else {}
        return (
            {
                "name": self.name,
                "arch": self.arch,
                "sha256": self.source.sha256,
                "size": self.image_size,
                "mean": list(self.normalization.mean),
                "std": list(self.normalization.std),
                "interpolation": self.interpolation,
                "activation": activation(self.backbone.body),
                "dim": self.dim,
            }
            | copy
            | self.pooled_how
        )

    def summary(self) -> str:
        """One line for the log."""
        weights, source = "random weights, for measuring speed only", self.source
        if source.file is not None:
            weights = f"{source.file} ({source.layout} layout, sha256 {(source.sha256 or '')[:8]})"
        mean = ", ".join(f"{value:.3g}" for value in self.normalization.mean)
        parts = [
            f"{self.name}: {weights}, {self.arch}, {self.dim} numbers from "
            f"{self.image_size} px {self.interpolation}, mean {mean}"
        ]
        if self.weight != 1:
            parts.append(f"weight {self.weight:g}")
        return "; ".join([*parts, *source.notes])


def check_identity(recorded: Mapping[str, Any], encoder: FrozenEncoder) -> None:
    """Raise UserError when `encoder` is not the one that was `recorded` (see `identity`).

    The name may differ: `ViT-B/32` and `ViT-B-32-quickgelu` are the same tower.
    """
    now = encoder.identity()
    changed = [
        f"{key} {_short(recorded.get(key))}, now {_short(value)}"
        for key, value in now.items()
        if key != "name" and recorded.get(key) != value
    ]
    if changed:
        raise UserError(
            f"is not the encoder recorded as {recorded.get('name')}: "
            f"{'; '.join(changed)}; give the same encoder and file, or start a new run"
        )


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
