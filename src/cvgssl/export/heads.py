"""Preparation and heads as parts of the graph: their inductive rules, in float64 like theirs.

Shape letters: D numbers of an embedding, L labelled pictures, R rows that new ones are compared
with, E width of a diffusion map, K classes.
"""

from collections.abc import Callable
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from cvgssl.export.row_heads import (
    CachePart,
    KernelPart,
    KernelRidgePart,
    MeansPart,
    MixturePart,
    NeighboursPart,
    PropagationPart,
    discriminant,
    keep,
    logistic,
    unit_rows,
)
from cvgssl.export.text_heads import TextRidgePart, TextTipPart, ZeroShotPart
from cvgssl.features.diffusion_map import DiffusionMap
from cvgssl.features.preparation import Preparation
from cvgssl.heads import FewShotHead, OpenSetHead
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.diffusion import DiffusionHead, MapHead
from cvgssl.heads.laplacian import LaplacianShot
from cvgssl.heads.linear import Discriminant, KernelRidge, Logistic, Ridge
from cvgssl.heads.mixture import MixtureHead
from cvgssl.heads.nearest_mean import CosineKnn, NearestMean, TipAdapter
from cvgssl.heads.out_of_distribution import NEIGHBOURS, OutOfDistributionScore
from cvgssl.heads.propagation import LabelPropagation
from cvgssl.heads.text import TextTip, ZeroShot
from cvgssl.heads.text_ridge import TextRidge
from cvgssl.heads.transport import TransportHead


def softened(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities [1, K] with their logarithms divided by `temperature`."""
    return (probabilities.clamp(min=1e-12).log() / temperature).softmax(dim=1)


class PreparationPart(nn.Module):
    """Embeddings as encoders give them to rows of length 1; see `Preparation`."""

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        learned = preparation.learned_
        self.roots = [scale.root for scale in learned]
        self.widths = [len(scale.mean) for scale in learned]
        total = sum(weight for _, weight in preparation.blocks) or 1.0
        weights = [weight for _, weight in preparation.blocks] if len(learned) > 1 else [total]
        self.shares = [(weight / total) ** 0.5 for weight in weights]
        for number, scale in enumerate(learned):
            keep(self, f"mean_{number}", scale.mean)
            keep(self, f"scale_{number}", scale.scale)

    def forward(self, values: Tensor) -> Tensor:
        """Float [1, D] to float64 [1, D]."""
        prepared = []
        for number, rows in enumerate(torch.split(values.double(), self.widths, dim=1)):
            if self.roots[number]:
                rows = rows.sign() * rows.abs().sqrt()
            rows = rows - self.get_buffer(f"mean_{number}")
            scale = self.get_buffer(f"scale_{number}")
            rows = rows @ scale if scale.ndim == 2 else rows * scale
            prepared.append(unit_rows(rows) * self.shares[number])
        return torch.cat(prepared, dim=1)


class MapPart(nn.Module):
    """Coordinates on a diffusion map; see `DiffusionMap.transform`."""

    landmarks: Tensor
    dual: Tensor
    mean: Tensor

    def __init__(self, fitted: DiffusionMap) -> None:
        super().__init__()
        self.width = fitted.kernel_width_
        keep(self, "landmarks", fitted.landmarks_)
        keep(self, "dual", fitted.dual_)
        keep(self, "mean", fitted.mean_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] of length 1 to [1, E] of length 1."""
        # the product as the score has it, so that runtimes compute it once for both
        kernel = ((2 * (rows @ self.landmarks.T) - 2) / self.width).exp()
        return unit_rows(kernel @ self.dual + self.mean)


class AutoPart(nn.Module):
    """`AutoHead`: the weighted mean of its candidates."""

    def __init__(self, head: AutoHead, maps: "Maps") -> None:
        super().__init__()
        self.parts = nn.ModuleList(part_of(candidate, maps) for candidate in head.heads_)
        self.weights = [float(weight) for weight in head.weights_]
        self.temperatures, self.temperature = list(head.temperatures_), head.temperature_

    def forward(self, spaces: list[Tensor]) -> Tensor:
        """See `part_of`."""
        mixed = sum(
            weight * softened(part(spaces), temperature)
            for part, weight, temperature in zip(
                self.parts, self.weights, self.temperatures, strict=True
            )
        )
        return softened(cast(Tensor, mixed), self.temperature)


class InSpace(nn.Module):
    """A part that works on the features, or on one of the maps."""

    def __init__(self, part: nn.Module, space: int) -> None:
        super().__init__()
        self.part, self.space = part, space

    def forward(self, spaces: list[Tensor]) -> Tensor:
        """See `part_of`."""
        return cast(Tensor, self.part(spaces[self.space]))


class Maps(nn.ModuleList):
    """The diffusion maps that a head uses, each once."""

    def __init__(self) -> None:
        super().__init__()
        self._fitted: list[DiffusionMap] = []

    def space(self, fitted: DiffusionMap | None) -> int:
        """The place of its coordinates in `forward`'s list; 0, the features, without a map."""
        if fitted is None:
            return 0
        for place, known in enumerate(self._fitted, 1):
            if np.array_equal(known.dual_, fitted.dual_):
                return place
        self._fitted.append(fitted)
        self.append(MapPart(fitted))
        return len(self)

    def forward(self, rows: Tensor) -> list[Tensor]:
        """Rows [1, D] of length 1, and their coordinates on each map."""
        return [rows, *(part(rows) for part in self)]


class ScorePart(nn.Module):
    """`OutOfDistributionScore`."""

    rows: Tensor
    labelled: Tensor

    def __init__(self, score: OutOfDistributionScore, maps: Maps) -> None:
        super().__init__()
        self.space, self.counts_neighbours = maps.space(score.map_), score.counts_neighbours_
        self.evidence = KernelPart.of(score.regression_)
        keep(self, "labelled", score.mapped_[score.labelled_])
        if self.counts_neighbours and score.map_ is not None:
            landmarks = score.map_.landmarks_
            if np.array_equal(landmarks, score.rows_):  # all rows, of which the file needs one copy
                self.register_buffer("rows", maps[self.space - 1].get_buffer("landmarks"))
            else:
                keep(self, "rows", score.rows_)

    def forward(self, spaces: list[Tensor]) -> Tensor:
        """Scores [1]; spaces: see `Maps.forward`."""
        score = (spaces[self.space] @ self.labelled.T).amax(dim=1)
        score = score + self.evidence(spaces[0]).amax(dim=1)
        if self.counts_neighbours:
            score = score + (spaces[0] @ self.rows.T).topk(NEIGHBOURS, dim=1).values.mean(dim=1)
        return cast(Tensor, score)


_PARTS: dict[type[FewShotHead], Callable[[Any], nn.Module]] = {
    KernelRidge: KernelRidgePart,
    Ridge: KernelRidgePart,
    Logistic: logistic,
    Discriminant: discriminant,
    NearestMean: MeansPart,
    CosineKnn: NeighboursPart,
    TipAdapter: CachePart.of,
    DiffusionHead: lambda head: logistic(head.head_),
    TransportHead: MeansPart,
    MixtureHead: MixturePart,
    LaplacianShot: MeansPart,
    LabelPropagation: PropagationPart,
    ZeroShot: ZeroShotPart,
    TextTip: TextTipPart,
    TextRidge: TextRidgePart,
}


def has_part(head: type[FewShotHead]) -> bool:
    """Whether heads of this class can be a part of a graph; subclasses may answer otherwise."""
    return head is AutoHead or head in _PARTS


def part_of(head: FewShotHead, maps: Maps) -> nn.Module:
    """The module of a fitted head: what `maps` gives of a row to probabilities [1, K]."""
    if isinstance(head, AutoHead):
        return AutoPart(head, maps)
    space = maps.space(head.map_) if isinstance(head, MapHead) else 0
    return InSpace(_PARTS[type(head)](head), space)


class HeadPart(nn.Module):
    """A calibrated head and the out-of-distribution score on the same rows."""

    def __init__(self, maps: Maps, head: nn.Module, temperature: float, score: ScorePart) -> None:
        """Make it of its parts. head: see `part_of`; both work on what `maps` gives."""
        super().__init__()
        self.maps, self.head, self.score, self.temperature = maps, head, score, temperature

    @classmethod
    def of(cls, head: OpenSetHead) -> Self:
        """The rule of a fitted head itself."""
        maps, calibrated = Maps(), head.head_
        return cls(
            maps,
            part_of(calibrated.head_, maps),
            calibrated.temperature_,
            ScorePart(head.score_, maps),
        )

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared rows [1, D] to probabilities [1, K] and scores [1]."""
        spaces = self.maps(unit_rows(rows))
        return softened(self.head(spaces), self.temperature), self.score(spaces)
