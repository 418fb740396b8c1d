"""How sure a head is: calibrated probabilities, an out-of-distribution score, verdicts.

Shape letters: N pictures, D numbers of an embedding, K classes.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from cvgssl.features.graph import nearest
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import FewShotHead, Floats, one_hot, unit
from cvgssl.heads.calibration import fitted_temperature, left_out, left_out_parts, tempered
from cvgssl.heads.diffusion import MapHead, is_crowd
from cvgssl.heads.linear import class_balance

KEPT = 4000  # unlabelled rows at most that are compared with
NEIGHBOURS = 5
RIDGE = 0.1
CHUNK = 4096


class Familiarity:
    """The sum of three figures, each about 0 for a strange picture and 1 for a familiar one.

    - The cosine to the nearest labelled row on the diffusion map: low for a class that has
      unlabelled pictures and no label. With fewer than 100 of those, the cosine of the features.
    - The largest score of kernel ridge regression of the labels, a Gaussian process's mean, which
      falls to 0 away from the labelled rows (Kemmler et al. 2013).
    - The mean cosine to the five nearest rows of `fit`, labelled or not (Sun et al. 2022): low for
      a class that has no picture there at all. Left out with fewer than 100 unlabelled rows.
    """

    def __init__(self, features: Floats, target: NDArray[np.int64]) -> None:
        self.map = _Place().fit(features, target)
        others = np.random.default_rng(0).permutation(np.flatnonzero(target < 0))[:KEPT]
        kept = np.sort(np.concatenate([np.flatnonzero(target >= 0), others]))
        self.kept = kept
        self.rows, self.mapped, self.target = (
            unit(features[kept]),
            self.map.rows_[kept],
            target[kept],
        )
        self.labelled = np.flatnonzero(self.target >= 0)
        self.crowded = is_crowd(target)
        self.near = np.zeros(len(kept))
        if self.crowded:
            self.near = nearest(self.rows, self.rows, NEIGHBOURS, 0)[0].mean(axis=1)

    def __call__(self, features: Floats) -> Floats:
        """Familiarity [M] of rows [M, D], each by itself."""
        starts = range(0, len(features), CHUNK)
        parts = [self._of_new(features[at : at + CHUNK]) for at in starts]
        return np.concatenate([np.zeros(0), *parts])

    def _of_new(self, features: Floats) -> Floats:
        rows, near = unit(features), np.zeros(len(features))
        if self.crowded:
            near = nearest(rows, self.rows, NEIGHBOURS)[0].mean(axis=1)
        return self._score(rows, self.map.predict_proba(features), near, self.labelled)

    def left_out(self) -> Floats:
        """Familiarity of the labelled pictures, each as it was without its label.

        As many as could be left out: none where each class has one label.
        """
        parts = left_out_parts(self.target)
        found = [self._of_kept(part, np.setdiff1d(self.labelled, part)) for part in parts]
        return np.concatenate([np.zeros(0), *found])

    def examples(self, classes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Familiarity of the unlabelled rows, and of pictures as if their class were unknown.

        classes: int64 [S], what is thought of the kept rows. The latter: the rows of each class,
        labelled or thought to be of it, without that class's labels (none for a single class).
        """
        unknown = [np.zeros(0)]
        for label in range(int(self.target.max()) + 1):
            others = self.labelled[self.target[self.labelled] != label]
            if len(others):
                unknown.append(self._of_kept(np.flatnonzero(classes == label), others))
        free = np.flatnonzero(self.target < 0)
        return self._of_kept(free, self.labelled), np.concatenate(unknown)

    def _of_kept(self, who: NDArray[np.intp], labelled: NDArray[np.intp]) -> Floats:
        return self._score(self.rows[who], self.mapped[who], self.near[who], labelled)

    def _score(
        self, rows: Floats, mapped: Floats, near: Floats, labelled: NDArray[np.intp]
    ) -> Floats:
        """Familiarity [M] with those kept rows that `labelled` names."""
        if not len(rows):
            return np.zeros(0)
        cosine: Floats = (mapped @ self.mapped[labelled].T).max(axis=1)
        _, target = np.unique(self.target[labelled], return_inverse=True)
        return cosine + evidence(self.rows[labelled], target, rows) + near


class _Place(MapHead):
    """Where the map puts rows: its `predict_proba` gives places [M, E], no probabilities."""

    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        self.rows_ = rows
        return one_hot(target, len(self.classes_))

    def _score_mapped(self, rows: Floats) -> Floats:
        return rows


def evidence(labelled: Floats, target: NDArray[np.int64], rows: Floats) -> Floats:
    """Largest score [M] over the classes of rows [M, D]; all rows have length 1.

    Kernel ridge regression of one-hot labels, target [L] of labelled rows [L, D], without a mean;
    kernel exp(-|a - b|^2 / width), width the median squared distance among the labelled rows.
    """
    squared = 2 - 2 * labelled @ labelled.T
    apart = squared[np.triu_indices(len(squared), 1)]
    width = max(float(np.median(apart)), 1e-6) if len(apart) else 1.0
    matrix = np.exp(-squared / width) + np.diag(RIDGE / class_balance(target))
    dual = cho_solve(cho_factor(matrix), one_hot(target, int(target.max()) + 1))
    scores: Floats = np.exp((2 * rows @ labelled.T - 2) / width) @ dual
    largest: Floats = scores.max(axis=1)
    return largest


class CalibratedHead(FewShotHead):
    """A head whose log-probabilities are divided by a temperature (Guo et al. 2017).

    The temperature makes labels that were left out in turn likeliest; with one label per class
    it is 1. See `fitted_temperature`.

    head: any few-shot head; `auto` if left out. temperature_: the one found.
    left_out_, left_out_rows_: calibrated probabilities [L, K] of the labels left out, and which
        rows of `fit` they are [L].
    """

    uses_unlabelled = True

    def __init__(self, head: FewShotHead | None = None) -> None:
        self.head = head

    def _fit(self, features: Floats, target: NDArray[np.int64]) -> None:
        head = AutoHead() if self.head is None else self.head
        found, rows = left_out(head, features, target)
        self.temperature_ = fitted_temperature(found, target[rows])
        self.left_out_, self.left_out_rows_ = tempered(found, self.temperature_), rows
        self.head_ = clone(head).fit(features, target)
        known = getattr(self.head_, "label_distributions_", None)
        known = self.head_.predict_proba(features) if known is None else known
        self.label_distributions_ = tempered(known, self.temperature_)

    def _probabilities(self, features: Floats) -> Floats:
        return tempered(self.head_.predict_proba(features), self.temperature_)


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
