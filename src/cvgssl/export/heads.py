"""Preparation and heads as parts of the graph: their inductive rules, in float64 like theirs.

Shape letters: D numbers of an embedding, L labelled pictures, R rows that new ones are compared
with, E width of a diffusion map, K classes.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge as KernelRidgeRegression
from torch import Tensor, nn

from cvgssl.features.diffusion_map import DiffusionMap
from cvgssl.features.preparation import Preparation
from cvgssl.heads import CalibratedHead, FewShotHead
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import one_hot
from cvgssl.heads.diffusion import DiffusionHead, MapHead
from cvgssl.heads.linear import Discriminant, KernelRidge, Logistic, Ridge, regress_labels
from cvgssl.heads.mixture import MixtureHead
from cvgssl.heads.nearest_mean import CosineKnn, NearestMean, TipAdapter
from cvgssl.heads.out_of_distribution import NEIGHBOURS, RIDGE, OutOfDistributionScore
from cvgssl.heads.transport import TransportHead


def unit(rows: Tensor) -> Tensor:
    """Rows [R, D] scaled to length 1; a row of zeros stays."""
    length = (rows * rows).sum(dim=1, keepdim=True).sqrt()
    return rows / torch.where(length > 0, length, 1.0)


def softened(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities [1, K] with their logarithms divided by `temperature`."""
    return (probabilities.clamp(min=1e-12).log() / temperature).softmax(dim=1)


class PreparationPart(nn.Module):
    """Embeddings as encoders give them to rows of length 1; see `Preparation`."""

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        learned = preparation.learned_
        self.roots = [part.root for part in learned]
        self.widths = [len(part.mean) for part in learned]
        total = sum(weight for _, weight in preparation.parts) or 1.0
        weights = [weight for _, weight in preparation.parts] if len(learned) > 1 else [total]
        self.shares = [(weight / total) ** 0.5 for weight in weights]
        for number, part in enumerate(learned):
            _keep(self, f"mean_{number}", part.mean)
            _keep(self, f"scale_{number}", part.scale)

    def forward(self, values: Tensor) -> Tensor:
        """Float [1, D] to float64 [1, D]."""
        prepared = []
        for number, rows in enumerate(torch.split(values.double(), self.widths, dim=1)):
            if self.roots[number]:
                rows = rows.sign() * rows.abs().sqrt()
            rows = rows - self.get_buffer(f"mean_{number}")
            scale = self.get_buffer(f"scale_{number}")
            rows = rows @ scale if scale.ndim == 2 else rows * scale
            prepared.append(unit(rows) * self.shares[number])
        return torch.cat(prepared, dim=1)


class MapPart(nn.Module):
    """Coordinates on a diffusion map; see `DiffusionMap.transform`."""

    landmarks: Tensor
    dual: Tensor
    mean: Tensor

    def __init__(self, fitted: DiffusionMap) -> None:
        super().__init__()
        self.width = fitted.kernel_width_
        _keep(self, "landmarks", fitted.landmarks_)
        _keep(self, "dual", fitted.dual_)
        _keep(self, "mean", fitted.mean_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] of length 1 to [1, E] of length 1."""
        kernel = ((2 * rows @ self.landmarks.T - 2) / self.width).exp()
        return unit(kernel @ self.dual + self.mean)


class KernelPart(nn.Module):
    """Kernel ridge regression of values [L, K]; see `regress_labels`."""

    rows: Tensor
    dual: Tensor

    def __init__(self, regression: KernelRidgeRegression) -> None:
        super().__init__()
        self.gamma = regression.gamma if regression.kernel == "rbf" else None
        _keep(self, "rows", regression.X_fit_)
        _keep(self, "dual", regression.dual_coef_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] to [1, K]."""
        inside = rows @ self.rows.T
        if self.gamma is not None:
            lengths = (rows * rows).sum() + (self.rows * self.rows).sum(dim=1)
            inside = (-self.gamma * (lengths - 2 * inside).clamp(min=0)).exp()
        return inside @ self.dual


class KernelRidgePart(nn.Module):
    """`KernelRidge`."""

    mean: Tensor

    def __init__(self, head: KernelRidge) -> None:
        super().__init__()
        self.regression, self.scale = KernelPart(head.regression_), head.scale
        _keep(self, "mean", head.mean_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] to probabilities [1, K]."""
        scores: Tensor = self.scale * (self.regression(rows) + self.mean)
        return scores.softmax(dim=1)


class LinearPart(nn.Module):
    """The softmax of an affine function of rows of length 1."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any]) -> None:
        super().__init__()
        _keep(self, "weight", weight)
        _keep(self, "bias", bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] to probabilities [1, K]."""
        return (unit(rows) @ self.weight + self.bias).softmax(dim=1)


def _logistic(head: Logistic) -> LinearPart:
    """`Logistic` for two classes or more."""
    assert head.linear_ is not None, "recognizers have two classes or more"
    coefficients, bias = head.linear_.coef_, head.linear_.intercept_
    if len(coefficients) == 1:  # of two classes; the other one's are 0
        coefficients = np.concatenate([0 * coefficients, coefficients])
        bias = np.concatenate([0 * bias, bias])
    return LinearPart(head.basis_ @ coefficients.T, bias)


def _discriminant(head: Discriminant) -> LinearPart:
    """`Discriminant`: log densities of a shared covariance, whose squares of rows cancel."""
    means = head.means_
    centres = means @ head.axes_.T
    along = centres * (1 / (head.kept_ + head.level_) - 1 / head.level_)
    weight = means / head.level_ + along @ head.axes_
    bias = -0.5 * (means * weight).sum(axis=1)
    return LinearPart(head.scale * weight.T, head.scale * bias)


class MeansPart(nn.Module):
    """`NearestMean`, and `TransportHead` on its map: cosines to class means."""

    means: Tensor

    def __init__(self, head: NearestMean | TransportHead) -> None:
        super().__init__()
        self.scale = head.scale
        _keep(self, "means", head.means_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        return (self.scale * (rows @ self.means.T)).softmax(dim=1)


class NeighboursPart(nn.Module):
    """`CosineKnn`."""

    rows: Tensor
    votes: Tensor

    def __init__(self, head: CosineKnn) -> None:
        super().__init__()
        self.count, self.scale = min(head.neighbours, len(head.rows_)), head.scale
        _keep(self, "rows", head.rows_)
        _keep(self, "votes", head.votes_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        cosine = rows @ self.rows.T
        least = cosine.topk(self.count, dim=1).values[:, -1:]
        weight = torch.where(cosine >= least, (self.scale * (cosine - 1)).exp(), 0.0)
        votes = weight @ self.votes
        return votes / votes.sum(dim=1, keepdim=True)


class CachePart(nn.Module):
    """`TipAdapter` without text."""

    keys: Tensor
    values: Tensor

    def __init__(self, head: TipAdapter) -> None:
        super().__init__()
        assert head.anchors is None, "recognizers have no texts"
        self.alpha, self.beta = head.alpha, head.beta
        _keep(self, "keys", head.cache_.keys)
        _keep(self, "values", head.cache_.values)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        weight = (self.beta * (rows @ self.keys.T - 1)).exp()
        return (self.alpha * (weight @ self.values)).softmax(dim=1)


class MixturePart(nn.Module):
    """`MixtureHead`: the classes' Gaussians on the map."""

    means: Tensor
    shares: Tensor

    def __init__(self, head: MixtureHead) -> None:
        super().__init__()
        self.precision = head.precision_
        _keep(self, "means", head.means_)
        _keep(self, "shares", head.log_shares_)

    def forward(self, rows: Tensor) -> Tensor:
        """Coordinates [1, E] to probabilities [1, K]."""
        squared = ((rows - self.means) ** 2).sum(dim=1)
        return (self.shares - self.precision * squared).softmax(dim=0)[None]


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
        target = score.target_[score.labelled_]
        known = score.rows_[score.labelled_]
        values = one_hot(target, int(target.max()) + 1)
        self.evidence = KernelPart(regress_labels(known, target, values, RIDGE))
        _keep(self, "labelled", score.mapped_[score.labelled_])
        if self.counts_neighbours and score.map_ is not None:
            landmarks = score.map_.landmarks_
            if np.array_equal(landmarks, score.rows_):  # all rows, of which the file needs one copy
                self.register_buffer("rows", maps[self.space - 1].get_buffer("landmarks"))
            else:
                _keep(self, "rows", score.rows_)

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
    Logistic: _logistic,
    Discriminant: _discriminant,
    NearestMean: MeansPart,
    CosineKnn: NeighboursPart,
    TipAdapter: CachePart,
    DiffusionHead: lambda head: _logistic(head.head_),
    TransportHead: MeansPart,
    MixtureHead: MixturePart,
}
EXPORTED = ("auto", "kernel-ridge", "ridge", "logistic", "discriminant", "nearest-mean", "knn",
            "tip-adapter", "diffusion", "mixture", "transport")  # fmt: skip
"""Names of the heads that can be a part of a graph."""


def part_of(head: FewShotHead, maps: Maps) -> nn.Module:
    """The module of a fitted head: what `maps` gives of a row to probabilities [1, K]."""
    if isinstance(head, AutoHead):
        return AutoPart(head, maps)
    space = maps.space(head.map_) if isinstance(head, MapHead) else 0
    return InSpace(_PARTS[type(head)](head), space)


class HeadPart(nn.Module):
    """A calibrated head and the out-of-distribution score on the same rows."""

    def __init__(self, head: CalibratedHead, score: OutOfDistributionScore) -> None:
        super().__init__()
        self.maps = Maps()
        self.head, self.temperature = part_of(head.head_, self.maps), head.temperature_
        self.score = ScorePart(score, self.maps)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared rows [1, D] to probabilities [1, K] and scores [1]."""
        spaces = self.maps(unit(rows))
        return softened(self.head(spaces), self.temperature), self.score(spaces)


def _keep(module: nn.Module, name: str, values: NDArray[Any]) -> None:
    module.register_buffer(name, torch.from_numpy(np.asarray(values, np.float64).copy()))
