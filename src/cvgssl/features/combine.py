"""Several encoders side by side, and what is learned from the train pictures.

Shape letters: N pictures to learn from, M any others, D numbers of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.cache import Values, scratch
from cvgssl.features.prepare import Mode, Preparation

CHUNK = 4096  # rows at a time
ENOUGH = 100_000  # rows to learn mean and covariance from

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Combination:
    """How parts (encoders, layers) are put side by side: what was learned, one for each part.

    Each part is standardized and brought to length 1; squared distances then add up by weight. All
    parts of a picture together have length 1.
    """

    preparations: tuple[Preparation, ...]
    factors: tuple[np.float32, ...]

    def __call__(self, found: Sequence[Values]) -> Values:
        """Parts [M, D_t] of any pictures as one float32 [M, sum of D_t]."""
        out = np.empty((len(found[0]), sum(one.shape[1] for one in found)), np.float32)
        self.write(found, out)
        return out

    def write(self, found: Sequence[Values], out: Values) -> None:
        """The same into `out`, a few rows at a time."""
        first = 0
        for one, preparation, factor in zip(found, self.preparations, self.factors, strict=True):
            place = out[:, first : first + one.shape[1]]
            transform(one, preparation, place)
            place *= factor
            first += one.shape[1]


def combination(found: Sequence[Values], weights: Sequence[float], train: Rows) -> Combination:
    """Learn from the rows `train` of parts [N, D_t] how to put them side by side."""
    share = np.sqrt(np.array(weights) / sum(weights))
    return Combination(
        tuple(learned(one, "standardize", train) for one in found),
        tuple(np.float32(factor) for factor in share),
    )


def combined(
    found: Sequence[Values], weights: Sequence[float], train: Rows, folder: Path
) -> Values:
    """Parts [N, D_t] side by side, float32 [N, sum of D_t] in a file that goes with the array."""
    joint = scratch(folder, len(found[0]), sum(one.shape[1] for one in found))
    combination(found, weights, train).write(found, joint)
    return joint


def prepared(values: Values, mode: Mode, train: Rows, out: Values) -> None:
    """Write rows of length 1 to `out`: `values`, prepared by what the rows `train` teach."""
    transform(values, learned(values, mode, train), out)


def learned(values: Values, mode: Mode, train: Rows) -> Preparation:
    """Fitted to the rows `train`; of more than `ENOUGH` to some, evenly spread."""
    step = max(1, -(-len(train) // ENOUGH))
    return Preparation(mode).fit(values[train[::step]])


def transform(values: Values, preparation: Preparation, out: Values) -> None:
    """Write the prepared rows to `out`, a few at a time."""
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = preparation.transform(values[part])
