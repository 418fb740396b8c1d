"""Candidates with known groups, drawn from Gaussians on a sphere."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cvgssl.selection.candidates import UNLABELLED, Candidates

MakeCandidates = Callable[..., tuple[Candidates, NDArray[np.int64]]]


@pytest.fixture
def blobs() -> MakeCandidates:
    """Groups of given sizes around far apart centres; gives the candidates and each row's group."""

    def make(
        sizes: Sequence[int], spread: float = 0.1, labelled: Sequence[int] = (), seed: int = 0
    ) -> tuple[Candidates, NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.arange(len(sizes)), sizes)
        centres = np.linalg.qr(rng.normal(size=(16, len(sizes))))[0].T
        rows = centres[truth] + spread * rng.normal(size=(len(truth), 16))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        labels = np.full(len(truth), UNLABELLED)
        labels[list(labelled)] = truth[list(labelled)]
        return Candidates(rows.astype(np.float32), labels, labels != UNLABELLED), truth

    return make
