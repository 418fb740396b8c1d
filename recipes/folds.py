"""Place of a picture in its class: for folds that have near twins on one side."""

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.table import FeatureTable


def places(table: FeatureTable) -> NDArray[np.float64]:
    """Place of each picture in its class, 0 to below 1 [N], in the order of numbers in names.

    Neighbours in number are often near twins; a fold of neighbouring places has both.
    """
    place = np.zeros(len(table))
    for label in range(len(table.classes)):
        rows = np.flatnonzero(table.labels == label)
        rows = rows[np.argsort([number(table.names[row]) for row in rows], kind="stable")]
        place[rows] = np.arange(len(rows)) / len(rows)
    return place


def number(name: str) -> int:
    """The last number in a picture's name."""
    digits = "".join(sign if sign.isdigit() else " " for sign in name).split()
    return int(digits[-1]) if digits else 0
