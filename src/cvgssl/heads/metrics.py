"""Accuracy, macro-recall, and their intervals: over draws, over test pictures. All in per cent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

# what else an accuracy rests on than labels: nothing; unlabelled pictures of train/
INDUCTIVE, SEMI_SUPERVISED = "inductive", "semi-supervised"
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class MeanInterval:
    """Mean of a figure over draws, sample standard deviation, half width of the 95 % interval.

    std and ci95 are None with a single draw, which says nothing about deviation.
    """

    mean: float
    std: float | None
    ci95: float | None

    def __str__(self) -> str:
        if self.ci95 is None:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} ± {self.ci95:.2f}"


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean, standard deviation (n - 1) and t interval over independent draws."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return MeanInterval(mean, None, None)
    std = float(np.std(values, ddof=1))
    return MeanInterval(mean, std, float(stdtrit(n - 1, 0.975)) * std / n**0.5)


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Counts [K, K] of labels and predicted classes [N]: row true class, column predicted class."""
    pairs = labels * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(counts: NDArray[np.int64]) -> float:
    """Share of pictures on the diagonal of a confusion matrix [K, K], per cent."""
    return 100.0 * float(np.trace(counts)) / float(counts.sum())


def recalls(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall per class [K], per cent; NaN for a class without test pictures."""
    totals = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 100.0 * np.diag(counts) / np.where(totals > 0, totals, np.nan)


def macro_recall(counts: NDArray[np.int64]) -> float:
    """Mean recall (balanced accuracy) over the classes that have test pictures, per cent.

    counts: a confusion matrix [K, K].
    """
    return float(np.nanmean(recalls(counts)))


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share of `total` > 0 independent pictures, per cent.

    Wilson 1927 (JASA 22), "Probable inference, the law of succession, and statistical inference".
    Unlike share ± 2 standard errors it has a width where all or none are right.
    """
    share, square = right / total, _Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = (square * share * (1 - share) + square**2 / 4) ** 0.5 / (1 + square)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def accuracy_interval(counts: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the accuracy over test pictures, Wilson's; counts: confusion [K, K]."""
    return wilson_interval(int(np.trace(counts)), int(counts.sum()))


def macro_recall_interval(counts: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the macro-recall over test pictures; counts: a confusion matrix [K, K].

    The classes' Wilson intervals, combined by the squares of their half widths: Zou & Donner 2008
    (Statistics in Medicine 27), "Construction of confidence limits about effect measures".
    """
    rows = [
        (100 * right / total, *wilson_interval(int(right), int(total)))
        for right, total in zip(np.diag(counts), counts.sum(axis=1), strict=True)
        if total
    ]
    share, low, high = np.array(rows).T
    mean, number = float(share.mean()), len(rows)
    below = float(np.sqrt(((share - low) ** 2).sum())) / number
    above = float(np.sqrt(((high - share) ** 2).sum())) / number
    return mean - below, mean + above


def chance(classes: int) -> float:
    """Expected macro-recall of guessing among so many classes, per cent."""
    return 100.0 / classes
