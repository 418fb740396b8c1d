"""Assignment of all pictures to classes by optimal transport on the diffusion map."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.base import Floats, class_means, inner_products, one_hot, softmax, unit
from cvgssl.heads.diffusion import MapHead

ROUNDS, STEPS = 10, 10


class TransportHead(MapHead):
    """Class means on the diffusion map, moved by Sinkhorn assignments; classes of unknown size.

    Pictures are assigned so that every class receives its share; the shares are estimated, as
    free assignments drawn `balance` of the way to equal ones, not assumed. A new row takes the
    nearest mean, independently of other new rows.

    Parameters
    ----------
    neighbours, time, width, ridge
        Of the map; see `MapHead`.
    balance : float, default=0.3
        0 free, 1 equal classes.
    scale : float, default=10.0
        Of cosines, before the assignment.

    Attributes
    ----------
    means_ : ndarray of shape (n_classes, n_coordinates)
        Of length 1.

    References
    ----------
    Hu, Gripon & Pateux 2021 (ICANN), "Leveraging the feature distribution in transfer-based
    few-shot learning" (PT-MAP).
    Cuturi 2013 (NeurIPS), "Sinkhorn distances".

    Examples
    --------
    >>> import numpy as np
    >>> from cvgssl.heads.transport import TransportHead
    >>> truth = np.arange(150) % 3
    >>> rows = np.eye(8)[truth] + 0.1 * np.random.default_rng(0).standard_normal((150, 8))
    >>> one_label_each = np.where(np.arange(150) < 3, truth, -1)
    >>> head = TransportHead().fit(rows, one_label_each)
    >>> float((head.transduction_ == truth).mean())
    1.0
    """

    def __init__(
        self,
        neighbours: int = 10,
        time: float = 8.0,
        width: int = 64,
        ridge: float = 1e-5,
        balance: float = 0.3,
        scale: float = 10.0,
    ) -> None:
        super().__init__(neighbours, time, width, ridge)
        self.balance = balance
        self.scale = scale

    def _fit_mapped(self, rows: Floats, target: NDArray[np.int64]) -> Floats:
        classes = len(self.classes_)
        fixed, labelled = one_hot(target, classes), target >= 0
        self.means_ = unit(class_means(rows, fixed))
        for _ in range(ROUNDS):
            free = self._score_mapped(rows)
            shares = (1 - self.balance) * free.mean(axis=0) + self.balance / classes
            assigned = sinkhorn(free, shares)
            assigned[labelled] = fixed[labelled]
            means = unit(class_means(rows, assigned))
            self.means_ = unit(0.6 * self.means_ + 0.4 * means)
        return assigned

    def _score_mapped(self, rows: Floats) -> Floats:
        return softmax(self.scale * inner_products(rows, self.means_))


def sinkhorn(free: Floats, shares: Floats) -> Floats:
    """Probabilities [N, K] near `free` [N, K] whose column means are `shares` [K].

    The plan is `free` with rows and columns scaled (Cuturi 2013); only the scales are iterated.
    """
    rows = np.ones(len(free))
    for _ in range(STEPS):
        columns = shares * len(free) / (rows @ free).clip(1e-300)
        rows = 1 / (free @ columns)
    plan: Floats = rows[:, None] * free * columns
    return plan
