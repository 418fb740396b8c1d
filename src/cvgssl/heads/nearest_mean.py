"""Heads that compare a picture with labelled ones: class means, neighbours, a cache."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvgssl.heads.base import FewShotHead, Floats, class_means, one_hot, softmax, unit


class NearestMean(FewShotHead):
    """Nearest class mean by cosine (prototypes of Snell et al. 2017; SimpleShot, Wang et al. 2019).

    scale: probabilities are the softmax of scale * cosine.
    """

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        weight = one_hot(target, len(self.classes_))
        self.means_ = unit(class_means(unit(features), weight))

    def _probabilities(self, features: Floats) -> Floats:
        return softmax(self.scale * (unit(features) @ self.means_.T))


class CosineKnn(FewShotHead):
    """The k nearest labelled pictures vote, each with exp(scale * cosine) (Wu et al. 2018).

    Every class is weighed by one over its labelled pictures, so that a class with many labels does
    not win by number.
    """

    def __init__(self, neighbours: int = 5, scale: float = 10.0) -> None:
        self.neighbours = neighbours
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        shares = one_hot(target, len(self.classes_))
        self.votes_ = shares / shares.sum(axis=0)
        self.rows_ = unit(features)

    def _probabilities(self, features: Floats) -> Floats:
        cosine = unit(features) @ self.rows_.T
        count = min(self.neighbours, cosine.shape[1])
        least = np.partition(cosine, -count, axis=1)[:, [-count]]
        weight = np.where(cosine >= least, np.exp(self.scale * (cosine - 1)), 0)
        votes = weight @ self.votes_
        result: Floats = votes / votes.sum(axis=1, keepdims=True)
        return result


class TipAdapter(FewShotHead):
    """Key-value cache of the labelled pictures (Zhang et al. 2022, training-free Tip-Adapter).

    Scores are alpha * sum over labelled i of exp(-beta * (1 - cosine_i)) one-hot_i, averaged
    within classes, plus, where `anchors` [K, D] of the classes are given (text embeddings of a
    CLIP, in the order of sorted labels), anchor_scale * cosine to them.
    """

    def __init__(
        self,
        alpha: float = 10.0,
        beta: float = 5.5,
        anchors: ArrayLike | None = None,
        anchor_scale: float = 100.0,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.anchors = anchors
        self.anchor_scale = anchor_scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        self._remember(features, target)
        if self.anchors is not None and np.shape(self.anchors) != (
            len(self.classes_),
            features.shape[1],
        ):
            raise ValueError(
                f"anchors {np.shape(self.anchors)}: one row of {features.shape[1]} numbers for "
                f"each of {len(self.classes_)} classes is needed"
            )

    def _remember(self, features: Floats, target: NDArray[np.int64]) -> None:
        shares = one_hot(target, len(self.classes_))
        self.values_ = shares / np.maximum(shares.sum(axis=0), 1)
        self.keys_ = unit(features)

    def _cached(self, rows: Floats) -> Floats:
        """Scores [M, K] of rows of length 1 by the cache alone."""
        scores: Floats = np.exp(self.beta * (rows @ self.keys_.T - 1)) @ self.values_
        return self.alpha * scores

    def _probabilities(self, features: Floats) -> Floats:
        rows = unit(features)
        scores = self._cached(rows)
        if self.anchors is not None:
            scores = scores + self.anchor_scale * (
                rows @ unit(np.asarray(self.anchors, dtype=np.float64)).T
            )
        return softmax(scores)
