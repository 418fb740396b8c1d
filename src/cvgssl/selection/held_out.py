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
    nothing can be said of it. right: predicted as labelled. low, high: 95 % interval of the
    accuracy, per cent (Wilson 1927); None where no label is held out. suspects: the most suspected
    first.
    """

    held_out: int
    right: int
    low: float | None
    high: float | None
    suspects: tuple[Suspect, ...]

    @property
    def too_few(self) -> bool:
        """Whether the interval is so wide that the accuracy says little."""
        return self.low is None or self.high is None or self.high - self.low > WIDE

    def __str__(self) -> str:
        """One line."""
        if self.low is None or self.high is None:
            return "too few labels to tell how often the recognizer is right"
        named = f"{self.right} of {self.held_out} labels are predicted right when held out"
        interval = f"{self.low:.0f} to {self.high:.0f} % of pictures such as these"
        return f"{named} in turn, so {interval}{': too few to tell' if self.too_few else ''}"


def held_out_labels(head: CalibratedHead, target: NDArray[np.int64]) -> HeldOutLabels:
    """What `head`, fitted to `target` [N] (0..K-1, -1 without label), says of held-out labels.

    A label is suspected when a mistake explains it better than the head's calibrated probability
    p of that class does: with one label in ten given at random among the other K - 1 classes, when
    0.1 (1 - p) / (K - 1) > 0.9 p, so with p below 1 to 2 % for seven to ten classes. Both classes
    have three labels. That the head's class is another one is not enough: with few labels it is so
    of half of them. How many mistakes it finds: docs/selecting.md.

    The estimate is for pictures such as the labelled ones: where those were chosen for being odd
    or doubtful, others are predicted right more often.
    """
    predicted, rows = head.held_out_, head.held_out_rows_
    counts = np.bincount(target[target >= 0])
    if not len(rows) or len(counts) < 2:
        return HeldOutLabels(0, 0, None, None, ())
    truth = target[rows]
    right = int((predicted.argmax(axis=1) == truth).sum())
    low, high = wilson_interval(right, len(rows))
    suspects = _suspects(predicted, truth, rows, counts)
    return HeldOutLabels(len(rows), right, low, high, suspects)


def _suspects(
    predicted: NDArray[np.float64],
    truth: NDArray[np.int64],
    rows: NDArray[np.intp],
    counts: NDArray[np.intp],
) -> tuple[Suspect, ...]:
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
