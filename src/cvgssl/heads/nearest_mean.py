"""Heads that compare a picture with labelled ones: class means, neighbours, a cache."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvgssl.heads.base import (
    FewShotHead,
    Floats,
    class_means,
    one_hot,
    softmax,
    softmax_of_cosines,
    unit,
)


class NearestMean(FewShotHead):
    """Nearest class mean by cosine.

    Parameters
    ----------
    scale : float, default=10.0
        Probabilities are the softmax of scale * cosine.

    Attributes
    ----------
    means_ : ndarray of shape (n_classes, n_features)
        Of length 1.

    References
    ----------
    Snell, Swersky & Zemel 2017 (NeurIPS), "Prototypical networks for few-shot learning".
    Wang et al. 2019, "SimpleShot: revisiting nearest-neighbor classification for few-shot
    learning".

    Examples
    --------
    >>> from cvgssl.heads.nearest_mean import NearestMean
    >>> NearestMean().fit([[1, 0], [0, 1]], ["dent", "pit"]).predict([[0.9, 0.2]])
    array(['dent'], dtype='<U4')
    """

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = scale

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        weight = one_hot(target, len(self.classes_))
        self.means_ = unit(class_means(unit(features), weight))

    def _probabilities(self, features: Floats) -> Floats:
        return softmax_of_cosines(features, self.means_, self.scale)


class CosineKnn(FewShotHead):
    """The k nearest labelled pictures vote, each with exp(scale * cosine).

    Every class is weighed by one over its labelled pictures, so that a class with many labels does
    not win by number.

    Parameters
    ----------
    neighbours : int, default=5
        Labelled pictures that vote.
    scale : float, default=10.0
        Of cosines.

    Attributes
    ----------
    rows_ : ndarray of shape (n_labelled, n_features)
        Labelled rows, scaled to length 1.
    votes_ : ndarray of shape (n_labelled, n_classes)
        Their votes; those of a class sum to 1.

    References
    ----------
    Wu, Xiong, Yu & Lin 2018 (CVPR), "Unsupervised feature learning via non-parametric instance
    discrimination".

    Examples
    --------
    >>> from cvgssl.heads.nearest_mean import CosineKnn
    >>> rows, labels = [[1, 0], [0.9, 0.1], [0, 1]], ["dent", "dent", "pit"]
    >>> CosineKnn(neighbours=1).fit(rows, labels).predict([[0.9, 0.2], [0.2, 0.9]])
    array(['dent', 'pit'], dtype='<U4')
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
        probabilities: Floats = votes / votes.sum(axis=1, keepdims=True)
        return probabilities


@dataclass(frozen=True)
class LabelCache:
    """What `TipAdapter` and `TextTip` keep of the labelled pictures.

    keys: their rows [L, D], of length 1. values: one-hot classes [L, K], averaged by class.
    """

    keys: Floats
    values: Floats

    @classmethod
    def of(cls, features: Floats, target: NDArray[np.int64], classes: int) -> Self:
        """From labelled rows [L, D] and their classes [L]."""
        shares = one_hot(target, classes)
        return cls(unit(features), shares / np.maximum(shares.sum(axis=0), 1))

    def scores(self, rows: Floats, alpha: float, beta: float) -> Floats:
        """Scores [M, K] of rows [M, D] of length 1."""
        scores: Floats = np.exp(beta * (rows @ self.keys.T - 1)) @ self.values
        return alpha * scores


class TipAdapter(FewShotHead):
    """Key-value cache of the labelled pictures, training-free.

    Scores are alpha * sum over labelled i of exp(-beta * (1 - cosine_i)) one-hot_i, averaged
    within classes, plus, where `anchors` are given, anchor_scale * cosine to them.

    Parameters
    ----------
    alpha : float, default=10.0
        Factor of the labelled pictures' part.
    beta : float, default=5.5
        How fast it falls with the distance.
    anchors : array-like of shape (n_classes, n_features), optional
        Text embeddings of the classes by a CLIP, in the order of sorted labels.
    anchor_scale : float, default=100.0
        Of the cosines to them.

    Attributes
    ----------
    cache_ : LabelCache
        Labelled rows and their classes.

    References
    ----------
    Zhang et al. 2022 (ECCV), "Tip-Adapter: training-free adaption of CLIP for few-shot
    classification".

    Examples
    --------
    >>> from cvgssl.heads.nearest_mean import TipAdapter
    >>> head = TipAdapter().fit([[1, 0], [0.6, 0.8]], ["dent", "pit"])
    >>> head.predict([[0.9, 0.2]])
    array(['dent'], dtype='<U4')

    Text embeddings of the classes can say otherwise:

    >>> head = TipAdapter(anchors=[[0, 1], [1, 0]]).fit([[1, 0], [0.6, 0.8]], ["dent", "pit"])
    >>> head.predict([[0.9, 0.2]])
    array(['pit'], dtype='<U4')
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
        self.cache_ = LabelCache.of(features, target, len(self.classes_))
        if self.anchors is not None and np.shape(self.anchors) != (
            len(self.classes_),
            features.shape[1],
        ):
            raise ValueError(
                f"anchors {np.shape(self.anchors)}: one row of {features.shape[1]} numbers for "
                f"each of {len(self.classes_)} classes is needed"
            )

    def _probabilities(self, features: Floats) -> Floats:
        rows = unit(features)
        scores = self.cache_.scores(rows, self.alpha, self.beta)
        if self.anchors is not None:
            scores = scores + self.anchor_scale * (
                rows @ unit(np.asarray(self.anchors, dtype=np.float64)).T
            )
        return softmax(scores)
