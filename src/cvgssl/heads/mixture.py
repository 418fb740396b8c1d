"""Gaussian mixture of labelled and unlabelled pictures on the diffusion map."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.base import Floats, class_means, inner_products, one_hot, softmax
from cvgssl.heads.diffusion import MapHead

STEPS = 30


class MixtureHead(MapHead):
    """Gaussian mixture on the diffusion map, by expectation maximisation with fixed labelled rows.

    One spherical Gaussian per class with a common variance, floored so that posteriors stay
    soft; class shares are estimated, not assumed equal, with a Dirichlet prior.

    Parameters
    ----------
    neighbours, time, width, ridge
        Of the map; see `MapHead`.
    labelled_weight : float, default=5.0
        How many unlabelled rows a labelled one counts for in its class's mean.
    prior : float, default=0.2
        Pictures added to every class, as a share of N / K.

    Attributes
    ----------
    means_ : ndarray of shape (n_classes, n_coordinates)
        Of the Gaussians.
    log_shares_ : ndarray of shape (n_classes,)
        Logarithms of the class shares.
    precision_ : float
        One over the common variance.

    References
    ----------
    Nigam, McCallum, Thrun & Mitchell 2000 (Machine Learning 39), "Text classification from labeled
    and unlabeled documents using EM".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.mixture import MixtureHead
    >>> truth = np.arange(150) % 3
    >>> rows = np.eye(8)[truth] + 0.1 * np.random.default_rng(0).standard_normal((150, 8))
    >>> one_label_each = np.where(np.arange(150) < 3, truth, -1)
    >>> head = MixtureHead().fit(rows, one_label_each)
    >>> float((head.transduction_ == truth).mean())
    1.0
    """

    def __init__(
        self,
        neighbours: int = 10,
        time: float = 8.0,
        width: int = 64,
        ridge: float = 1e-5,
        labelled_weight: float = 5.0,
        prior: float = 0.2,
    ) -> None:
        super().__init__(neighbours, time, width, ridge)
        self.labelled_weight = labelled_weight
        self.prior = prior

    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        classes = len(self.classes_)
        fixed = one_hot(target, classes)
        labelled = target >= 0
        weight = np.where(labelled, self.labelled_weight, 1.0)[:, None]
        self.means_ = class_means(rows, fixed)
        self.log_shares_ = np.zeros(classes)
        self.precision_ = 5.0
        squared = _squared(rows, self.means_)
        for _ in range(STEPS):
            share = self._share(squared)
            share[labelled] = fixed[labelled]
            self.means_ = class_means(rows, share * weight)
            squared = _squared(rows, self.means_)
            total = share.sum(axis=0) + self.prior * len(rows) / classes
            self.log_shares_ = np.log(total / total.sum())
            variance = float(np.vdot(share, squared)) / len(rows)
            self.precision_ = 1 / max(variance, 0.05)
        share = self._share(squared)
        share[labelled] = fixed[labelled]
        return share

    def _score_mapped(self, rows: Floats) -> Floats:
        return self._share(_squared(rows, self.means_))

    def _share(self, squared: Floats) -> Floats:
        return softmax(self.log_shares_ - self.precision_ * squared)


def _squared(rows: Floats, means: Floats) -> Floats:
    """Squared distances [N, K]."""
    lengths = np.einsum("ne,ne->n", rows, rows)[:, None]
    inside = inner_products(rows, means)
    squared: Floats = (lengths - 2 * inside + (means**2).sum(axis=1)).clip(0)
    return squared
