"""Which test pictures are asked together in one transductive run.

The choice comes from hashes of (seed, setting, run, name), as the draws of labelled pictures do:
the same on every machine and library version. All methods share it.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from cvgssl.features.table import UNLABELLED, FeatureTable

BALANCED, DIRICHLET = "transductive-balanced", "transductive-dirichlet"


def balanced(test: FeatureTable, runs: int, seed: int) -> list[list[str]]:
    """For each run names of as many test pictures of every class as the smallest class has."""
    by_class = _by_class(test)
    least = min(map(len, by_class))
    return [_pick(by_class, [least] * len(by_class), (seed, BALANCED, run)) for run in range(runs)]


def dirichlet(
    test: FeatureTable, runs: int, seed: int, alpha: float, per_class: int
) -> list[list[str]]:
    """For each run names of test pictures whose class shares come from Dirichlet(alpha).

    Veilleux, Boudiaf, Piantanida, Ben Ayed 2021 (NeurIPS), "Realistic evaluation of transductive
    few-shot learning", with alpha = 2. A run asks classes * per_class pictures; fewer, with the
    same shares, where a class has not so many. Classes may be absent from a run.
    """
    by_class = _by_class(test)
    having = np.array([len(names) for names in by_class])
    drawn = []
    for run in range(runs):
        key = (seed, DIRICHLET, run)
        uniform = [_uniform(*key, "share", label) for label in range(len(by_class))]
        shares = gammaincinv(alpha, uniform)  # gamma variates; divided by their sum: Dirichlet
        shares = shares / shares.sum()
        total = min(per_class * len(by_class), float((having / shares).min()))
        drawn.append(_pick(by_class, _whole(shares * total, having), key))
    return drawn


def _whole(wanted: NDArray[np.float64], having: NDArray[np.int64]) -> list[int]:
    """Whole numbers that keep the sum: those with the largest remainders are rounded up."""
    counts = np.minimum(np.floor(wanted + 1e-9).astype(np.int64), having)
    left = round(float(wanted.sum())) - int(counts.sum())
    for label in np.argsort(counts - wanted, kind="stable"):
        if left > 0 and counts[label] < having[label]:
            counts[label] += 1
            left -= 1
    if counts.sum() == 0:
        counts[np.argmax(wanted)] = 1
    return [int(count) for count in counts]


def _by_class(test: FeatureTable) -> list[list[str]]:
    """Names of each class that has test pictures."""
    groups = [
        [test.names[row] for row in np.flatnonzero(test.labels == label)]
        for label in sorted(set(test.labels.tolist()) - {UNLABELLED})
    ]
    assert groups, "checked when features are loaded"
    return groups


def _pick(
    by_class: Sequence[Sequence[str]], counts: Sequence[int], key: tuple[Any, ...]
) -> list[str]:
    chosen: list[str] = []
    for names, count in zip(by_class, counts, strict=True):
        chosen += sorted(names, key=lambda name: _hash(*key, name))[:count]
    return sorted(chosen)


def _uniform(*key: object) -> float:
    """In the open interval (0, 1)."""
    return (int.from_bytes(_hash(*key)[:6], "big") + 0.5) / 2**48


def _hash(*key: object) -> bytes:
    return hashlib.sha256("/".join(map(str, key)).encode()).digest()
