"""What labels say of each other: each held out in turn and predicted by a head that has the others.

Shape letters: N rows, L of them held out, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.metrics import wilson_interval
from cvgssl.heads.open_set import CalibratedHead

WIDE = 30.0  # percentage points of an interval that says little
LEAST_LABELS = 3  # of both classes, for a label to be suspected
MISTAKES = 0.1  # share of the labels that may be mistakes, for the rule below


@dataclass(frozen=True)
class Suspect:
    """A label that the others contradict.

    row: of the picture. label, instead: classes 0..K-1, as labelled and as the head says without
    that label. probability, own: of the two, by the head.
    """

    row: int
    label: int
    instead: int
    probability: float
    own: float


@dataclass(frozen=True)
class HeldOutLabels:
    """How labels are predicted when they are held out in turn.

    held_out: labels of classes of two labels or more; a class of one is lost without it, so
    nothing can be said of it. right: predicted as labelled. commonest: of the class with most of
    them. low, high: 95 % interval of the accuracy, per cent (Wilson 1927); None where no label is
    held out.
    """

    held_out: int
    right: int
    commonest: int
    low: float | None
    high: float | None

    @property
    def too_few(self) -> bool:
        """Whether the interval is so wide that the accuracy says little."""
        return self.low is None or self.high is None or self.high - self.low > WIDE

    @property
    def no_better(self) -> bool:
        """Whether they do not show that it is better than the commonest class for all pictures."""
        return self.low is not None and self.low <= 100 * self.commonest / self.held_out

    def __str__(self) -> str:
        """One line."""
        if self.low is None or self.high is None:
            return "too few labels to tell how often the recognizer is right"
        counted = f"{self.right} of {self.held_out} labels are predicted right when held out"
        interval = f"{self.low:.0f} to {self.high:.0f} % of pictures such as these"
        line = f"{counted} in turn, so {interval}{': too few to tell' if self.too_few else ''}"
        if self.no_better:
            line += f"; the commonest class for all of them would be right for {self.commonest}"
        return line


def held_out_labels(head: CalibratedHead, target: NDArray[np.int64]) -> HeldOutLabels:
    """How often `head`, fitted to `target` [N] (0..K-1, -1 without label), is right about them.

    The estimate is for pictures such as the labelled ones: where those were chosen for being odd
    or doubtful, others are predicted right more often.
    """
    predicted, rows = head.held_out_, head.held_out_rows_
    if not _can_differ(rows, target):
        return HeldOutLabels(0, 0, 0, None, None)
    truth = target[rows]
    right = int((predicted.argmax(axis=1) == truth).sum())
    low, high = wilson_interval(right, len(rows))
    return HeldOutLabels(len(rows), right, int(np.bincount(truth).max()), low, high)


def suspected_labels(head: CalibratedHead, target: NDArray[np.int64]) -> tuple[Suspect, ...]:
    """Labels of `target` that the others contradict, by `head` as above; the most suspected first.

    A label is suspected when a mistake explains it better than the head's calibrated probability
    p of that class does: with one label in ten given at random among the other K - 1 classes, when
    0.1 (1 - p) / (K - 1) > 0.9 p, so with p below 1 to 2 % for seven to ten classes. Both classes
    have three labels. That the head's class is another one is not enough: with few labels it is so
    of half of them. How many mistakes it finds: docs/selecting.md.
    """
    predicted, rows = head.held_out_, head.held_out_rows_
    if not _can_differ(rows, target):
        return ()
    truth, counts = target[rows], np.bincount(target[target >= 0])
    own = predicted[np.arange(len(rows)), truth]
    often = np.where(counts >= LEAST_LABELS, predicted, -1.0)
    instead, probability = often.argmax(axis=1), often.max(axis=1)
    by_mistake = MISTAKES * (1 - own) / (len(counts) - 1)
    suspected = (by_mistake > (1 - MISTAKES) * own) & (counts[truth] >= LEAST_LABELS)
    places = np.flatnonzero(suspected & (instead != truth))
    order = places[np.argsort(own[places], kind="stable")]
    return tuple(
        Suspect(
            int(rows[at]), int(truth[at]), int(instead[at]), float(probability[at]), float(own[at])
        )
        for at in order
    )


def _can_differ(rows: NDArray[np.intp], target: NDArray[np.int64]) -> bool:
    """Whether labels are held out, and another class is possible."""
    return len(rows) > 0 and int(target.max()) > 0
