"""Heads that compare rows with what they keep, as parts of the graph, in float64 like theirs.

Shape letters: D numbers of a row, L labelled pictures, E width of a diffusion map, K classes.
"""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge as KernelRidgeRegression
from torch import Tensor, nn

from cvgssl.heads.laplacian import LaplacianShot
from cvgssl.heads.linear import Discriminant, KernelRidge, Logistic
from cvgssl.heads.mixture import MixtureHead
from cvgssl.heads.nearest_mean import CosineKnn, LabelCache, NearestMean, TipAdapter
from cvgssl.heads.propagation import LabelPropagation
from cvgssl.heads.transport import TransportHead


def unit_rows(rows: Tensor) -> Tensor:
    """Rows [R, D] scaled to length 1; a row of zeros stays."""
    length = (rows * rows).sum(dim=1, keepdim=True).sqrt()
    return rows / torch.where(length > 0, length, 1.0)


def keep(module: nn.Module, name: str, values: NDArray[Any]) -> None:
    """Make values a float64 buffer of a module."""
    module.register_buffer(name, torch.from_numpy(np.asarray(values, np.float64).copy()))


class KernelPart(nn.Module):
    """Kernel ridge regression of values [L, K]; see `regress_labels`."""

    rows: Tensor
    dual: Tensor
    origin: Tensor

    def __init__(
        self, rows: NDArray[Any], dual: NDArray[Any], kernel: str, gamma: float | None
    ) -> None:
        """Make it of rows [L, D], their duals [L, K] and scikit-learn's kernel: rbf or linear."""
        super().__init__()
        self.gamma = gamma if kernel == "rbf" else None
        # distances stay the same and are exact in float32, too (OpenVINO), where rows lie close
        origin = rows.mean(axis=0) if self.gamma is not None else np.zeros(rows.shape[1])
        keep(self, "origin", origin)
        keep(self, "rows", rows - origin)
        keep(self, "dual", dual)

    @classmethod
    def of(cls, regression: KernelRidgeRegression) -> Self:
        """Of scikit-learn's estimator."""
        kernel, gamma = regression.kernel, regression.gamma
        return cls(regression.X_fit_, regression.dual_coef_, kernel, gamma)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] to [1, K]."""
        rows = rows - self.origin
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
        self.regression, self.scale = KernelPart.of(head.regression_), head.scale
        keep(self, "mean", head.mean_)

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
        keep(self, "weight", weight)
        keep(self, "bias", bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [1, D] to probabilities [1, K]."""
        return (unit_rows(rows) @ self.weight + self.bias).softmax(dim=1)


def logistic(head: Logistic) -> LinearPart:
    """`Logistic` for two classes or more."""
    assert head.linear_ is not None, "recognizers have two classes or more"
    coefficients, bias = head.linear_.coef_, head.linear_.intercept_
    if len(coefficients) == 1:  # of two classes; the other one's are 0
        coefficients = np.concatenate([0 * coefficients, coefficients])
        bias = np.concatenate([0 * bias, bias])
    return LinearPart(head.basis_ @ coefficients.T, bias)


def discriminant(head: Discriminant) -> LinearPart:
    """`Discriminant`: log densities of a shared covariance, whose squares of rows cancel."""
    means = head.means_
    centres = means @ head.axes_.T
    along = centres * (1 / (head.kept_ + head.level_) - 1 / head.level_)
    weight = means / head.level_ + along @ head.axes_
    bias = -0.5 * (means * weight).sum(axis=1)
    return LinearPart(head.scale * weight.T, head.scale * bias)


class MeansPart(nn.Module):
    """`NearestMean`, `LaplacianShot`, and `TransportHead` on its map: cosines to class means."""

    means: Tensor

    def __init__(self, head: NearestMean | LaplacianShot | TransportHead) -> None:
        super().__init__()
        self.scale = head.scale
        keep(self, "means", head.means_)

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
        keep(self, "rows", head.rows_)
        keep(self, "votes", head.votes_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        cosine = rows @ self.rows.T
        least = cosine.topk(self.count, dim=1).values[:, -1:]
        weight = torch.where(cosine >= least, (self.scale * (cosine - 1)).exp(), 0.0)
        votes = weight @ self.votes
        return votes / votes.sum(dim=1, keepdim=True)


class CachePart(nn.Module):
    """`TipAdapter` without texts."""

    keys: Tensor
    values: Tensor

    def __init__(self, cache: LabelCache, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        keep(self, "keys", cache.keys)
        keep(self, "values", cache.values)

    @classmethod
    def of(cls, head: TipAdapter) -> Self:
        """Of a head without texts; `TextTip` has them."""
        assert head.anchors is None, "recognizers have them for heads of `TEXT_HEADS` only"
        return cls(head.cache_, head.alpha, head.beta)

    def scores(self, rows: Tensor) -> Tensor:
        """Scores [1, K] of rows of length 1 [1, D]."""
        weight = (self.beta * (rows @ self.keys.T - 1)).exp()
        return self.alpha * (weight @ self.values)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        return self.scores(rows).softmax(dim=1)


class PropagationPart(nn.Module):
    """`LabelPropagation`: the nearest rows of `fit`, of which it keeps all, in float32 as it does.

    N rows of `fit`, G neighbours.
    """

    rows: Tensor
    distributions: Tensor

    def __init__(self, head: LabelPropagation) -> None:
        super().__init__()
        self.count = min(head.neighbours, len(head.rows_))
        self.register_buffer("rows", torch.from_numpy(head.rows_))
        keep(self, "distributions", head.label_distributions_)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of length 1 [1, D] to probabilities [1, K]."""
        cosine, places = (rows.float() @ self.rows.T).topk(self.count, dim=1)
        squared = (2 - 2 * cosine.double()).clamp(min=0)  # of distances [1, G]
        middle = squared[:, self.count // 2, None].clamp(min=1e-12)
        weights = (-squared / middle).exp().clamp(min=1e-12)
        mixed = weights @ self.distributions[places[0]]
        return mixed / mixed.sum(dim=1, keepdim=True)


class MixturePart(nn.Module):
    """`MixtureHead`: the classes' Gaussians on the map."""

    means: Tensor
    shares: Tensor

    def __init__(self, head: MixtureHead) -> None:
        super().__init__()
        self.precision = head.precision_
        keep(self, "means", head.means_)
        keep(self, "shares", head.log_shares_)

    def forward(self, rows: Tensor) -> Tensor:
        """Coordinates [1, E] to probabilities [1, K]."""
        squared = ((rows - self.means) ** 2).sum(dim=1)
        return (self.shares - self.precision * squared).softmax(dim=0)[None]
