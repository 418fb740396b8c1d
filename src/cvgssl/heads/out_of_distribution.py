"""How well a picture fits to those that are known: an out-of-distribution score.

Shape letters: N rows given to `fit`, R of them kept, L labelled, M others, D features, K classes.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.kernel_ridge import KernelRidge

from cvgssl.features.diffusion_map import DiffusionMap
from cvgssl.features.graph import nearest_neighbours
from cvgssl.heads.base import Floats, one_hot, unit
from cvgssl.heads.calibration import held_out_folds
from cvgssl.heads.diffusion import enough_unlabelled, fit_map, mapped
from cvgssl.heads.linear import regress_labels

KEPT = 4000  # unlabelled rows at most that are compared with
NEIGHBOURS = 5
RIDGE = 0.1
CHUNK = 4096


class OutOfDistributionScore(BaseEstimator):  # type: ignore[misc]
    """Sum of three figures, each about 0 for a picture of an unknown class, 1 for a known one.

    As in scikit-learn's outlier detectors, lower scores are more abnormal.

    - The cosine to the nearest labelled row on the diffusion map: low for a class that has
      unlabelled pictures and no label. With fewer than 100 of those, the cosine of the features.
    - The largest score of kernel ridge regression of the labels, a Gaussian process's mean, which
      falls to 0 away from the labelled rows.
    - The mean cosine to the five nearest rows of `fit`, labelled or not: low for a class that has
      no picture there at all. Omitted with fewer than 100 unlabelled rows.

    Attributes
    ----------
    map_ : DiffusionMap or None
        None with fewer than 100 unlabelled rows.
    kept_ : ndarray of shape (n_kept,)
        Which rows of `fit` new ones are compared with: the labelled ones and at most 4000 others.
    rows_ : ndarray of shape (n_kept, n_features)
        The kept rows, scaled to length 1.
    compared_ : ndarray of shape (n_kept, n_features)
        The same in float32, in which neighbours are found in a third of the time; only with 100
        unlabelled rows or more.
    target_ : ndarray of shape (n_kept,)
        Their classes, -1 without label.
    regression_ : sklearn.kernel_ridge.KernelRidge
        Of the labelled rows' classes; see `label_regression`.

    References
    ----------
    Kemmler, Rodner, Wacker & Denzler 2013 (Pattern Recognition 46), "One-class classification with
    Gaussian processes".
    Sun, Ming, Zhu & Li 2022 (ICML), "Out-of-distribution detection with deep nearest neighbors".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.out_of_distribution import OutOfDistributionScore
    >>> score = OutOfDistributionScore().fit(np.eye(3)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]))
    >>> known, unknown = score.score_samples(np.eye(3)[[0, 2]])
    >>> bool(known > unknown)
    True
    """

    def fit(self, features: Floats, target: NDArray[np.int64]) -> Self:
        """Learn from rows [N, D] and target [N], 0..K-1, -1 without label."""
        self.map_ = fit_map(features, target, DiffusionMap())
        others = np.random.default_rng(0).permutation(np.flatnonzero(target < 0))[:KEPT]
        self.kept_ = np.sort(np.concatenate([np.flatnonzero(target >= 0), others]))
        self.rows_, self.target_ = unit(features[self.kept_]), target[self.kept_]
        self.mapped_ = mapped(self.map_, features)[self.kept_]
        self.labelled_ = np.flatnonzero(self.target_ >= 0)
        self.regression_ = label_regression(
            self.rows_[self.labelled_], self.target_[self.labelled_]
        )
        self.counts_neighbours_ = enough_unlabelled(target)
        self.similarity_ = np.zeros(len(self.kept_))
        if self.counts_neighbours_:
            self.compared_ = self.rows_.astype(np.float32)
            cosines, _ = nearest_neighbours(self.compared_, self.compared_, NEIGHBOURS, 0)
            self.similarity_ = cosines.mean(axis=1, dtype=np.float64)
        return self

    def score_samples(self, features: Floats) -> Floats:
        """Scores [M] of rows [M, D], each independently; the lower, the more abnormal."""
        starts = range(0, len(features), CHUNK)
        scores = [self._score_new(features[at : at + CHUNK]) for at in starts]
        return np.concatenate([np.zeros(0), *scores])

    def _score_new(self, features: Floats) -> Floats:
        rows, similarity = unit(features), np.zeros(len(features))
        if self.counts_neighbours_:
            cosines, _ = nearest_neighbours(rows.astype(np.float32), self.compared_, NEIGHBOURS)
            similarity = cosines.mean(axis=1, dtype=np.float64)
        cosine = self._cosine(mapped(self.map_, features), self.labelled_)
        return cosine + _largest(self.regression_, rows) + similarity

    def held_out_scores(self) -> Floats:
        """Scores [L] of the labelled pictures, each without its label.

        As many as could be held out: none where each class has one label.
        """
        folds = held_out_folds(self.target_)
        scores = [self._score_kept(fold, np.setdiff1d(self.labelled_, fold)) for fold in folds]
        return np.concatenate([np.zeros(0), *scores])

    def example_scores(self, classes: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Scores of the unlabelled rows, and of pictures as if their class were unknown.

        classes: int64 [R], predicted for the kept rows. The latter: the rows of each class,
        labelled or predicted, without that class's labels (none for a single class).
        """
        unknown = [np.zeros(0)]
        for label in range(int(self.target_.max()) + 1):
            others = self.labelled_[self.target_[self.labelled_] != label]
            if len(others):
                unknown.append(self._score_kept(np.flatnonzero(classes == label), others))
        unlabelled = np.flatnonzero(self.target_ < 0)
        return self._score_kept(unlabelled, self.labelled_), np.concatenate(unknown)

    def _score_kept(self, places: NDArray[np.intp], labelled: NDArray[np.intp]) -> Floats:
        if not len(places):
            return np.zeros(0)
        cosine = self._cosine(self.mapped_[places], labelled)
        score = evidence(self.rows_[labelled], self.target_[labelled], self.rows_[places])
        return cosine + score + self.similarity_[places]

    def _cosine(self, coordinates: Floats, labelled: NDArray[np.intp]) -> Floats:
        """To the nearest [M] of the kept rows that `labelled` names."""
        cosine: Floats = (coordinates @ self.mapped_[labelled].T).max(axis=1)
        return cosine


def evidence(labelled: Floats, target: NDArray[np.int64], rows: Floats) -> Floats:
    """Largest score [M] over the classes of rows [M, D]; all rows have length 1.

    target: classes [L] of labelled rows [L, D].
    """
    return _largest(label_regression(labelled, target), rows)


def label_regression(labelled: Floats, target: NDArray[np.int64]) -> KernelRidge:
    """Kernel ridge regression, without a mean, of the one-hot classes [L] of rows [L, D]."""
    _, classes = np.unique(target, return_inverse=True)
    return regress_labels(labelled, classes, one_hot(classes, int(classes.max()) + 1), RIDGE)


def _largest(regression: KernelRidge, rows: Floats) -> Floats:
    largest: Floats = regression.predict(rows).max(axis=1)
    return largest
