"""A head that may answer "unknown" or "not sure" instead of a class."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.fewshot.heads.auto import AutoHead
from cvgssl.fewshot.heads.base import FewShotHead, Floats
from cvgssl.fewshot.heads.calibrated import CalibratedHead
from cvgssl.fewshot.heads.familiarity import Familiarity

KNOWN, UNKNOWN, NOT_SURE = "known", "unknown", "not sure"


class OpenSetHead(FewShotHead):
    """A calibrated head and two rules for when it gives no class.

    "unknown": the picture is less familiar (`Familiarity`) than `least_familiar_`. Below that falls
    the share `refused` of the labelled pictures when labels are left out in turn. With one label
    per class none can be left out. Then each class in turn is treated as if it had no labels,
    which shows how familiar an unknown class looks; between that and the unlabelled pictures the
    bound with the largest Youden index is drawn, and `least_familiar_` is the quantile `refused`
    of the unlabelled pictures above it. Without unlabelled pictures either, a picture must be more
    familiar than any labelled one is with the other classes.

    "not sure": the calibrated probability of the likeliest class is below `least_probable_`: the
    lowest at which labels left out in turn say (wrong + 1) / (answered + 1) <= `error`. Where they
    are too few to say so for any, as with one label per class, 1 - `error` (Chow 1970).

    head: any few-shot head, calibrated here; `auto` if left out. refused: share of the pictures
    of known classes that may be called unknown. error: wanted share of wrong answers among those
    given to pictures of known classes; strangers that are not noticed come on top. Both rules are
    estimates from few labels, no guarantees: with two or three labels per class fewer pictures
    are refused than `refused`, and more where new pictures differ from the labelled ones.
    """

    uses_unlabelled = True

    def __init__(
        self, head: FewShotHead | None = None, refused: float = 0.1, error: float = 0.05
    ) -> None:
        self.head = head
        self.refused = refused
        self.error = error

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        for name, value in (("refused", self.refused), ("error", self.error)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} {value}: must be at least 0 and below 1")
        head = AutoHead() if self.head is None else self.head
        self.head_ = CalibratedHead(clone(head)).fit(features, target)
        self.label_distributions_ = self.head_.label_distributions_
        truth = target[self.head_.left_out_rows_]
        self.least_probable_ = least_probable(self.head_.left_out_, truth, self.error)
        self.familiarity_ = Familiarity(features, target)
        known = self.familiarity_.left_out()
        if len(known):
            self.least_familiar_ = float(np.quantile(known, self.refused))
        else:
            thought = self.label_distributions_[self.familiarity_.kept].argmax(axis=1)
            examples = self.familiarity_.examples(thought)
            self.least_familiar_ = least_familiar(*examples, self.refused)

    def _probabilities(self, features: Floats) -> Floats:
        return self.head_.predict_proba(features)

    def familiarity(self, X: ArrayLike) -> Floats:  # noqa: N803
        """How familiar each row is [M]: about 0 for a strange one, up to 3; see `Familiarity`."""
        check_is_fitted(self)
        return self.familiarity_(validate_data(self, X, dtype=np.float64, reset=False))

    def confidence(self, X: ArrayLike) -> Floats:  # noqa: N803
        """What to answer first [M]: the largest probability times familiarity; only an order."""
        confidence: Floats = self.predict_proba(X).max(axis=1) * self.familiarity(X).clip(0)
        return confidence

    def verdicts(self, X: ArrayLike) -> NDArray[np.str_]:  # noqa: N803
        """For each row [M] "known" (then `predict` tells the class), "unknown" or "not sure"."""
        sure = self.predict_proba(X).max(axis=1) >= self.least_probable_
        familiar = self.familiarity(X) >= self.least_familiar_
        return np.where(familiar, np.where(sure, KNOWN, NOT_SURE), UNKNOWN)

    def answers(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class of each row, or "unknown", or "not sure": objects [M]."""
        answers = self.verdicts(X).astype(object)
        known = answers == KNOWN
        answers[known] = self.predict(X)[known]
        return answers


def least_familiar(free: Floats, unknown: Floats, refused: float) -> float:
    """The least familiarity that is not "unknown" with one label per class; see `OpenSetHead`.

    free, unknown: familiarity of unlabelled pictures, and of pictures of classes without labels.
    """
    if not len(free):
        return float(unknown.max(initial=-np.inf))
    above = free
    if len(unknown):
        bounds = np.sort(np.concatenate([free, unknown]))
        below = [np.searchsorted(np.sort(one), bounds) / len(one) for one in (unknown, free)]
        above = free[free >= bounds[int(np.argmax(below[0] - below[1]))]]
    return float(np.quantile(above, refused))


def least_probable(found: Floats, truth: NDArray[np.int64], error: float) -> float:
    """The least probability that is not "not sure"; see `OpenSetHead`.

    found, truth: probabilities [L, K] and classes [L] of labels left out.
    """
    top, wrong = found.max(axis=1), found.argmax(axis=1) != truth
    order = np.argsort(-top, kind="stable")
    share = (np.cumsum(wrong[order]) + 1) / (np.arange(len(order)) + 2)
    enough = np.flatnonzero(share <= error)
    return float(top[order[enough[-1]]]) if len(enough) else 1 - error
