"""Labels left out in turn: what a head would have said about the support it knows."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.fewshot.heads.base import UNLABELLED, FewShotHead, Floats
from cvgssl.fewshot.heads.diffusion import MapHead

PARTS = 5
LEAST = 0.01  # probability: one surprise does not decide


def left_out(
    head: FewShotHead, features: Floats, target: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.intp]]:
    """Probabilities [L, K] of labelled rows, each from a fit without its label, and their places.

    The pictures left out stay as unlabelled ones. L is 0 where no class has two labels.
    """
    parts = left_out_parts(target)
    head = clone(head)
    if parts and isinstance(head, MapHead):
        head, features = head.on_map(features, target)  # labels do not move the map
    found = [np.zeros((0, int(target.max()) + 1))]
    for part in parts:
        without = target.copy()
        without[part] = UNLABELLED
        found.append(head.fit(features, without).predict_proba(features[part]))
    return np.concatenate(found), np.concatenate([np.zeros(0, dtype=np.intp), *parts])


def right(probabilities: Floats, truth: NDArray[np.int64]) -> Floats:
    """Log-probabilities [L] of the true classes [L], floored."""
    chosen: Floats = np.log(probabilities[np.arange(len(truth)), truth].clip(LEAST))
    return chosen


def left_out_parts(target: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Rows of the support to be left out together: up to five parts, a class in all of them kept.

    Rows of a class with a single label are never left out. Empty without a class of two.
    """
    parts: list[list[int]] = [[] for _ in range(PARTS)]
    for label in range(int(target.max()) + 1):
        rows = np.flatnonzero(target == label)
        count = min(len(rows), PARTS)
        if count < 2:
            continue
        for place, row in enumerate(rows):
            parts[(place % count + label) % PARTS].append(int(row))
    return [np.array(part, dtype=np.intp) for part in parts if part]
