"""Several encoders side by side, and what is learned from the train pictures.

Shape letters: N pictures, D numbers of each.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.cache import Values, scratch
from cvgssl.features.prepare import Mode, Preparation

CHUNK = 4096  # rows at a time
ENOUGH = 100_000  # rows to learn mean and covariance from

Rows = NDArray[np.intp]


def combined(
    found: Sequence[Values], weights: Sequence[float], train: Rows, folder: Path
) -> Values:
    """Embeddings of several encoders or layers, [N, D_t] each, as one float32 [N, sum of D_t].

    Each is standardized by the train pictures and brought to length 1; squared distances then
    add up by weight. All rows together have length 1.
    """
    joint = scratch(folder, len(found[0]), sum(one.shape[1] for one in found))
    share = np.sqrt(np.array(weights) / sum(weights))
    first = 0
    for one, factor in zip(found, share, strict=True):
        prepared(one, "standardize", train, joint[:, first : first + one.shape[1]])
        joint[:, first : first + one.shape[1]] *= np.float32(factor)
        first += one.shape[1]
    return joint


def prepared(values: Values, mode: Mode, train: Rows, out: Values) -> None:
    """Write rows of length 1 to `out`: `values` as `Preparation` makes them.

    train: rows to learn from; of more than `ENOUGH` some, evenly spread.
    """
    step = -(-len(train) // ENOUGH)
    preparation = Preparation(mode).fit(values[train[::step]])
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = preparation.transform(values[part])
