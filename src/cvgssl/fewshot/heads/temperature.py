"""How far a head's probabilities are to be trusted, as far as labels that were left out tell."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvgssl.fewshot.heads.base import Floats, softmax
from cvgssl.fewshot.heads.left_out import right

TEMPERATURES = np.geomspace(0.1, 5, 30)
ANCHOR = 5.0  # labels that speak for temperature 1


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [M, K] with their logarithms divided by `temperature` (Guo et al. 2017)."""
    return softmax(np.log(probabilities.clip(1e-12)) / temperature)


def fitted_temperature(found: Floats, truth: NDArray[np.int64]) -> float:
    """The temperature that makes left-out labels likeliest.

    found, truth: probabilities [L, K] and classes [L] of labels left out. A pull towards 1, worth
    a few labels, takes (log T)^2 each; without labels it is 1.
    """
    if not len(found):
        return 1.0
    likely = [
        right(tempered(found, one), truth).sum() - ANCHOR * np.log(one) ** 2 for one in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmax(likely))])


def agreed_temperature(mixed: Floats, said: Sequence[Floats]) -> float:
    """The temperature at which a classifier is as sure of rows as two others agree about them.

    mixed: its probabilities [M, K] of rows without a label; said: those of the two others, else
    the answer is 1. How often two classifiers agree estimates how often they are right (Jiang et
    al. 2022, there of networks), so the mean largest probability is brought near that.
    """
    if len(said) != 2:
        return 1.0
    agreement = np.mean(said[0].argmax(axis=1) == said[1].argmax(axis=1))
    sure = [tempered(mixed, one).max(axis=1).mean() for one in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(np.abs(np.array(sure) - agreement)))])
