"""What the labels so far say of those to come: classes not seen yet, and whether more would pay."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.linear import KernelRidge
from cvgssl.selection.candidates import Candidates

FIRST = 2 / 3  # of the labels, in the order of the list, that all of them are compared with
SETTLED = 0.02  # share of changed answers below which further labels hardly pay
MOST = 0.5  # share of the labels of one class beyond which the others are hidden
LEAST_PER_CLASS = 2  # labels, on average, below which nothing is said of classes not seen


@dataclass(frozen=True)
class Outlook:
    """Labels so far; all fields are JSON values.

    Parameters
    ----------
    labels, classes : int
        Labelled pictures, and how many classes they are of.
    single : int
        Classes of which one picture has a label.
    largest : float
        Share 0..1 of the labels that the class with most of them has. Above a half, as where most
        parts are good, neither estimate sees rare classes, and no stop is advised.
    unseen : float or None
        Estimated classes of which none has; None with fewer than two labels per class.
    changed : float or None
        Share 0..1 of the train pictures whose class by kernel ridge regression is another with all
        labels than with the first two thirds of them; None where these are of fewer than two
        classes.

    References
    ----------
    Chao 1984 (Scandinavian Journal of Statistics 11), "Nonparametric estimation of the number of
    classes in a population", in its bias-corrected form; it is for pictures drawn at random, so of
    chosen ones it is rough.
    """

    labels: int
    classes: int
    single: int
    largest: float
    unseen: float | None
    changed: float | None

    @property
    def enough(self) -> bool:
        """Whether further labels would hardly pay: answers stay, no class hangs on one label."""
        settled = self.changed is not None and self.changed < SETTLED
        return settled and not self.single and not self.dominated

    @property
    def dominated(self) -> bool:
        """Whether one class has so many of the labels that the others are hidden."""
        return self.largest > MOST

    def __str__(self) -> str:
        """Two lines: classes; whether further labels pay."""
        unseen = "too few labels to tell how many classes are not seen yet"
        if self.unseen is not None:
            count = round(self.unseen)
            unseen = f"about {count} class{'' if count == 1 else 'es'} not seen yet"
            if not count:
                unseen = "no sign of a class not seen yet"
        seen = f"labelled so far: {self.labels} pictures of {self.classes} classes"
        lines = [f"{seen}, {self.single} of them by a single picture; {unseen}"]
        if self.changed is None:
            lines.append("too few labels to tell whether more would pay")
        else:
            verdict = "further labels would hardly pay" if self.enough else "further labels pay"
            if self.dominated:
                verdict = (
                    f"{100 * self.largest:.0f} % of the labels are of one class, so this tells "
                    "little of the others"
                )
            lines.append(
                f"the last third of the labels changed {100 * self.changed:.1f} % of the answers "
                f"about train pictures: {verdict}"
            )
        return "\n".join(lines)


def outlook(candidates: Candidates, labelled: Sequence[int]) -> Outlook:
    """What `labelled`, rows of `candidates` in the order in which they got their labels, say."""
    rows = np.array(labelled, dtype=np.intp)
    counts = np.bincount(candidates.labels[rows])
    counts = counts[counts > 0]
    single, double = (int((counts == number).sum()) for number in (1, 2))
    unseen = None
    if len(rows) >= LEAST_PER_CLASS * len(counts):
        unseen = single * (single - 1) / (2 * (double + 1))
    largest = float(counts.max() / len(rows))
    return Outlook(len(rows), len(counts), single, largest, unseen, _changed(candidates, rows))


def _changed(candidates: Candidates, rows: NDArray[np.intp]) -> float | None:
    first = rows[: int(FIRST * len(rows))]
    if len(np.unique(candidates.labels[first])) < 2:
        return None
    before, now = (
        KernelRidge().fit(candidates.rows[some], candidates.labels[some]).predict(candidates.rows)
        for some in (first, rows)
    )
    return float((before != now).mean())
