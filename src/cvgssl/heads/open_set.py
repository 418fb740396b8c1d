"""Heads around a head: calibrated probabilities; verdicts "known", "unknown", "not sure".

Shape letters: N rows given to `fit`, L labelled rows held out, M others, K classes.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from cvgssl.features.graph_cache import graph_cache
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import FewShotHead, Floats, HeadOfHeads, SupportViews
from cvgssl.heads.calibration import (
    distinctness,
    fit_temperature,
    held_out_predictions,
    scale_temperature,
)
from cvgssl.heads.out_of_distribution import OutOfDistributionScore
from cvgssl.heads.text import TextHead
from cvgssl.heads.verdicts import KNOWN, NOT_SURE, UNKNOWN, taken_for_verdicts


class CalibratedHead(HeadOfHeads):
    """A head with temperature scaling.

    The temperature is the one that gives held-out labels the largest likelihood; with one label
    per class it is 1. See `fit_temperature`.

    Parameters
    ----------
    head : FewShotHead, optional
        Any few-shot head; `auto` if left out.

    Attributes
    ----------
    head_ : FewShotHead
        Fitted to all labels.
    temperature_ : float
        What log-probabilities are divided by.
    held_out_ : ndarray of shape (n_held_out, n_classes)
        Calibrated probabilities of the labels held out.
    held_out_rows_ : ndarray of shape (n_held_out,)
        Which rows of `fit` they are.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the rows of `fit`.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger 2017 (ICML), "On calibration of modern neural networks".

    Examples
    --------
    >>> from cvgssl.heads import HEADS, CalibratedHead
    >>> rows, labels = [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], [0, 0, 1, 1]
    >>> head = CalibratedHead(HEADS["nearest-mean"]()).fit(rows, labels)
    >>> head.temperature_ < 1  # all held-out labels were predicted right
    True
    """

    def __init__(self, head: FewShotHead | None = None) -> None:
        self.head = head

    def _fit_viewed(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        head = AutoHead() if self.head is None else self.head
        with graph_cache():  # of the held-out fits and the last one
            predictions, rows = held_out_predictions(head, features, target, views)
            self.head_ = clone(head).fit(features, target, views)
            distributions = getattr(self.head_, "label_distributions_", None)
            if distributions is None:
                distributions = self.head_.predict_proba(features)
        self.temperature_ = fit_temperature(predictions, target[rows])
        self.held_out_ = scale_temperature(predictions, self.temperature_)
        self.held_out_rows_ = rows
        self.label_distributions_ = scale_temperature(distributions, self.temperature_)

    def _probabilities(self, features: Floats) -> Floats:
        return scale_temperature(self.head_._probabilities(features), self.temperature_)


class OpenSetHead(HeadOfHeads):
    """A calibrated head and two rules for when it gives no class.

    "unknown": the out-of-distribution score (`OutOfDistributionScore`) is below
    `score_threshold_`: the quantile `false_rejection_rate` of the labelled pictures' scores when
    their labels are held out in turn. With one label per class none can be held out. Then each
    class in turn is treated as if it had no labels, which shows how an unknown class scores;
    between that and the unlabelled pictures the bound with the largest Youden index is drawn, and
    the threshold is the quantile `false_rejection_rate` of the unlabelled pictures above it.
    Without unlabelled pictures either, a picture must score higher than any labelled one does with
    the other classes.

    "not sure": the calibrated probability of the most probable class is below
    `probability_threshold_`: the lowest at which held-out labels give
    (wrong + 1) / (answered + 1) <= `error`, and 1 - `error` where none does. Where they are too few
    to show it, as with one label per class, it is closer to 1 the less the labelled pictures of
    different classes differ (`distinctness`): up to no answer at all.

    Both rules are estimates from few labels, no guarantees: with two or three labels per class
    fewer pictures are rejected than `false_rejection_rate`, and more where new pictures differ
    from the labelled ones.

    Parameters
    ----------
    head : FewShotHead, optional
        Any few-shot head, calibrated here; `auto` if left out.
    false_rejection_rate : float, default=0.1
        Share of the pictures of known classes that may be called unknown.
    error : float, default=0.05
        Wanted share of wrong answers among those given to pictures of known classes; pictures of
        unknown classes that are not noticed come on top.

    Attributes
    ----------
    head_ : CalibratedHead
    score_ : OutOfDistributionScore
    score_threshold_, probability_threshold_ : float
        Below them a picture is "unknown", or "not sure".
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Calibrated probabilities of the rows of `fit`.

    References
    ----------
    Chow 1970 (IEEE Transactions on Information Theory 16), "On optimum recognition error and reject
    tradeoff".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads import HEADS, OpenSetHead
    >>> truth = np.arange(60) % 3
    >>> rows = np.eye(8)[truth] + 0.05 * np.random.default_rng(0).standard_normal((60, 8))
    >>> head = OpenSetHead(HEADS["kernel-ridge"](), false_rejection_rate=0.0)
    >>> head.fit(rows, truth).answers(np.eye(8)[[0, 2, 5]])
    array([0, 2, 'unknown'], dtype=object)
    """

    def __init__(
        self,
        head: FewShotHead | None = None,
        false_rejection_rate: float = 0.1,
        error: float = 0.05,
    ) -> None:
        self.head = head
        self.false_rejection_rate = false_rejection_rate
        self.error = error

    def _fit_viewed(
        self, features: Floats, target: NDArray[np.int64], views: SupportViews | None
    ) -> None:
        for name in ("false_rejection_rate", "error"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} {value}: must be at least 0 and below 1")
        head = AutoHead() if self.head is None else self.head
        with graph_cache():  # of the head and the score
            self.head_ = CalibratedHead(clone(head)).fit(features, target, views)
            self.score_ = OutOfDistributionScore().fit(features, target)
        self.label_distributions_ = self.head_.label_distributions_
        truth = target[self.head_.held_out_rows_]
        # its bounds are for rows around 0; heads with texts have theirs around another point
        centred = features - features.mean(axis=0) if isinstance(head, TextHead) else features
        self.probability_threshold_ = probability_threshold(
            self.head_.held_out_, truth, self.error, distinctness(centred, target)
        )
        known = self.score_.held_out_scores()
        if len(known):
            self.score_threshold_ = float(np.quantile(known, self.false_rejection_rate))
        else:
            predicted = self.label_distributions_[self.score_.kept_].argmax(axis=1)
            examples = self.score_.example_scores(predicted)
            self.score_threshold_ = score_threshold(*examples, self.false_rejection_rate)

    def _probabilities(self, features: Floats) -> Floats:
        return self.head_._probabilities(features)

    def score_samples(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Out-of-distribution score [M], about 0 to 3; the lower, the more abnormal."""
        return self.score_.score_samples(self._checked_rows(X))

    def confidence(self, X: ArrayLike) -> Floats:  # noqa: N803
        """What to answer first [M]: largest probability times score; only an order."""
        confidence: Floats = self.predict_proba(X).max(axis=1) * self.score_samples(X).clip(0)
        return confidence

    def verdicts(self, X: ArrayLike) -> NDArray[np.str_]:  # noqa: N803
        """For each row [M] "known" (`predict` gives the class), "unknown" or "not sure"."""
        return self.judge(X)[1]

    def judge(self, X: ArrayLike) -> tuple[Floats, NDArray[np.str_]]:  # noqa: N803
        """Probabilities [M, K] and verdicts [M], in little more time than one of them."""
        features = self._checked_rows(X)
        with graph_cache():  # head and score map the same rows
            probabilities = self._probabilities(features)
            known = self.score_.score_samples(features) >= self.score_threshold_
        sure = probabilities.max(axis=1) >= self.probability_threshold_
        return probabilities, np.where(known, np.where(sure, KNOWN, NOT_SURE), UNKNOWN)

    def answers(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class of each row, or "unknown", or "not sure": objects [M].

        Raises ValueError where a class is called like a verdict.
        """
        if taken := taken_for_verdicts(map(str, self.classes_)):
            raise ValueError(f"a class is called {taken[0]!r}, as a verdict is; use verdicts(X)")
        probabilities, verdicts = self.judge(X)
        classes = self.classes_[probabilities.argmax(axis=1)].astype(object)
        return np.where(verdicts == KNOWN, classes, verdicts.astype(object))


def score_threshold(unlabelled: Floats, unknown: Floats, false_rejection_rate: float) -> float:
    """The least score that is not "unknown" with one label per class; see `OpenSetHead`.

    unlabelled, unknown: scores [U] of unlabelled pictures, and [V] of pictures of classes without
        labels; both may be empty. false_rejection_rate: 0..1.
    """
    if not len(unlabelled):
        return float(unknown.max(initial=-np.inf))
    above = unlabelled
    if len(unknown):
        bounds = np.sort(np.concatenate([unlabelled, unknown]))
        unknown_below, unlabelled_below = (
            np.searchsorted(np.sort(scores), bounds) / len(scores)
            for scores in (unknown, unlabelled)
        )
        youden = int(np.argmax(unknown_below - unlabelled_below))
        above = unlabelled[unlabelled >= bounds[youden]]
    return float(np.quantile(above, false_rejection_rate))


def probability_threshold(
    held_out: Floats, truth: NDArray[np.int64], error: float, distinct: float
) -> float:
    """The least probability that is not "not sure"; see `OpenSetHead`.

    held_out, truth: probabilities [L, K] and classes [L] of held-out labels. distinct: 0..1.
    """
    top, wrong = held_out.max(axis=1), held_out.argmax(axis=1) != truth
    order = np.argsort(-top, kind="stable")
    share = (np.cumsum(wrong[order]) + 1) / (np.arange(len(order)) + 2)
    enough = np.flatnonzero(share <= error)
    if len(enough):
        return float(top[order[enough[-1]]])
    too_few = 1 / (len(order) + 1) > error  # even if all were right
    return 1 - error * (distinct if too_few else 1)
