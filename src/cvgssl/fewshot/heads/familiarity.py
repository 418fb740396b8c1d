"""How much a picture is like what is known: tells classes that have labels from those without.

Shape letters: N rows of `fit`, S of them kept, M new rows, D features, E width of the map.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from cvgssl.features.graph import nearest
from cvgssl.fewshot.heads.base import Floats, one_hot, unit
from cvgssl.fewshot.heads.diffusion import MapHead, is_crowd
from cvgssl.fewshot.heads.left_out import left_out_parts
from cvgssl.fewshot.heads.linear import class_balance

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
