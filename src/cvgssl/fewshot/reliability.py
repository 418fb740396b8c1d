"""Whether probabilities mean what they say, and how much can be answered with few mistakes.

Shape letters: M pictures, K classes. Shares are 0..1.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
