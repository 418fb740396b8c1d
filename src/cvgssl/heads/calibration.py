"""How sure a head may be: held-out predictions, temperature scaling, reliability.

Shapes: N pictures, K classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.heads.base import UNLABELLED, FewShotHead, Floats, softmax
from cvgssl.heads.diffusion import MapHead

PARTS = 5
LEAST = 0.01  # probability: one surprise does not decide


def left_out(
    head: FewShotHead, features: Floats, target: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.intp]]:
    """Probabilities [L, K] of labelled rows, each from a fit without its label, and their places.

    The pictures left out stay as unlabelled ones. L is 0 where no class has two labels.
    """
    parts = left_out_parts(target)
    head = clone(head)
    if parts and isinstance(head, MapHead):
        head, features = head.on_map(features, target)  # labels do not move the map
    found = [np.zeros((0, int(target.max()) + 1))]
    for part in parts:
        without = target.copy()
        without[part] = UNLABELLED
        found.append(head.fit(features, without).predict_proba(features[part]))
    return np.concatenate(found), np.concatenate([np.zeros(0, dtype=np.intp), *parts])


def right(probabilities: Floats, truth: NDArray[np.int64]) -> Floats:
    """Log-probabilities [L] of the true classes [L], floored."""
    chosen: Floats = np.log(probabilities[np.arange(len(truth)), truth].clip(LEAST))
    return chosen


def left_out_parts(target: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Rows of the support to be left out together: up to five parts, a class in all of them kept.

    Rows of a class with a single label are never left out. Empty without a class of two.
    """
    parts: list[list[int]] = [[] for _ in range(PARTS)]
    for label in range(int(target.max()) + 1):
        rows = np.flatnonzero(target == label)
        count = min(len(rows), PARTS)
        if count < 2:
            continue
        for place, row in enumerate(rows):
            parts[(place % count + label) % PARTS].append(int(row))
    return [np.array(part, dtype=np.intp) for part in parts if part]


TEMPERATURES = np.geomspace(0.1, 5, 30)
ANCHOR = 5.0  # labels that speak for temperature 1


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [M, K] with their logarithms divided by `temperature` (Guo et al. 2017)."""
    return softmax(np.log(probabilities.clip(1e-12)) / temperature)


def fitted_temperature(found: Floats, truth: NDArray[np.int64]) -> float:
    """The temperature that makes left-out labels likeliest.

    found, truth: probabilities [L, K] and classes [L] of labels left out. A pull towards 1, worth
    a few labels, takes (log T)^2 each; without labels it is 1.
    """
    if not len(found):
        return 1.0
    likely = [
        right(tempered(found, one), truth).sum() - ANCHOR * np.log(one) ** 2 for one in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmax(likely))])


def agreed_temperature(mixed: Floats, said: Sequence[Floats]) -> float:
    """The temperature at which a classifier is as sure of rows as two others agree about them.

    mixed: its probabilities [M, K] of rows without a label; said: those of the two others, else
    the answer is 1. How often two classifiers agree estimates how often they are right (Jiang et
    al. 2022, there of networks), so the mean largest probability is brought near that.
    """
    if len(said) != 2:
        return 1.0
    agreement = np.mean(said[0].argmax(axis=1) == said[1].argmax(axis=1))
    sure = [tempered(mixed, one).max(axis=1).mean() for one in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(np.abs(np.array(sure) - agreement)))])


def calibration_error(probabilities: Floats, truth: NDArray[np.int64], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017), 0..1.

    Mean over pictures of |accuracy - mean largest probability| of their bin; `bins` equal
    intervals of the largest probability. probabilities: [M, K]; truth: classes [M].
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((top * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=right - top, minlength=bins)
    return float(np.abs(gap).sum() / len(top))


def log_loss(probabilities: Floats, truth: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true classes, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(chosen.clip(1e-12)).mean())


def coverage(confidence: Floats, right: NDArray[np.bool_], error: float = 0.01) -> float:
    """The largest share of pictures, most confident first, of whose answers `error` are wrong.

    confidence: [M], ties count together. right: whether each answer would be right [M]; an answer
    for a picture of an unknown class is wrong. The bound is found with the truth at hand, so this
    compares orders; it is no rule that could be used.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    answered = np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)
    allowed = np.flatnonzero(last & (wrong <= error * answered))
    return float(answered[allowed[-1]] / len(order)) if len(allowed) else 0.0
