"""Pseudo-labels: classes for unlabelled training pictures, and which of them are trained on.

Shape letters: N training pictures, D features, K classes, M pictures that are used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.table import UNLABELLED

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PseudoLabels:
    """Confident guesses. rows: [M], of the training pictures; labels: int64 [M], 0..K-1.

    weights: float64 [M], the probability of the label, 1/K..1: what a picture counts in the loss.
    """

    rows: Rows
    labels: NDArray[np.int64]
    weights: Floats


def guess(
    features: NDArray[np.float32], labels: NDArray[np.int64], support: Rows, share: float
) -> PseudoLabels:
    """What the head `auto` says of the pictures outside the support.

    features: [N, D], of a frozen backbone. labels: [N]; only those of the support are looked at.
    share: see `confident`.
    """
    from cvgssl.features.prepare import Preparation  # only here, as scikit-learn takes a second
    from cvgssl.fewshot.heads import HEADS

    target = np.full(len(features), UNLABELLED, dtype=np.int64)
    target[support] = labels[support]
    head = HEADS["auto"]()
    head.fit(Preparation("center").fit_transform(features), target)
    return confident(head.label_distributions_, target, share)


def confident(distributions: Floats, target: NDArray[np.int64], share: float) -> PseudoLabels:
    """Of the unlabelled rows, the surest `share` of each guessed class, at least one of it.

    distributions: [N, K]. target: [N], -1 where not labelled. A share for each class instead of
    one threshold keeps classes that are hard to tell (Zou et al. 2018, ECCV, "Class-balanced
    self-training").
    """
    guessed, sure = distributions.argmax(axis=1), distributions.max(axis=1)
    kept = []
    for label in range(distributions.shape[1]):
        rows = np.flatnonzero((target == UNLABELLED) & (guessed == label))
        surest = rows[np.argsort(-sure[rows], kind="stable")]
        kept.append(surest[: int(np.ceil(share * len(rows)))])
    rows = np.sort(np.concatenate(kept))
    return PseudoLabels(rows, guessed[rows].astype(np.int64), sure[rows])


def balanced(
    labels: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Places of `count` of the `labels` [M], every class that occurs as often (to one).

    Within a class each is as likely, and may be drawn again.
    """
    classes = generator.permutation(np.unique(labels))
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], classes)
    sizes = np.searchsorted(labels[order], classes, side="right") - first
    turn = np.arange(count) % len(classes)
    inside = (generator.random(count) * sizes[turn]).astype(np.intp)
    chosen: NDArray[np.intp] = order[first[turn] + inside]
    return chosen
