"""The losses once more, in float64 NumPy, element by element and without autograd."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def contrast(q: Array, k: Array, temperature: float) -> float:
    """2 T times the mean of -log of the positive's share."""
    total = 0.0
    for i in range(len(q)):
        scores = np.array([np.exp(cosine(q[i], other) / temperature) for other in k])
        total -= np.log(scores[i] / scores.sum())
    return 2 * temperature * total / len(q)


def published_constraint(a: Array, b: Array) -> float:
    total = 0.0
    for row in a:
        scores = np.array([cosine(row, other) for other in b])
        total -= scores.max() - np.log(np.exp(scores).sum())
    return float(total / len(a))


def margin_constraint(a: Array, b: Array, margin: float, sharpness: float) -> float:
    total = 0.0
    for i, row in enumerate(a):
        hardest = max(cosine(row, other) for j, other in enumerate(b) if j != i)
        excess = hardest + margin - cosine(row, b[i])
        total += np.log(1 + np.exp(sharpness * excess)) / sharpness
    return float(total / len(a))


def relation(student: Array, teacher: Array, temperature: float) -> float:
    """Mean of KL(teacher's distribution || student's) over pictures, each without itself."""

    def distribution(features: Array, i: int) -> Array:
        others = [j for j in range(len(features)) if j != i]
        scores = np.exp([cosine(features[i], features[j]) / temperature for j in others])
        return np.asarray(scores / scores.sum())

    total = 0.0
    for i in range(len(student)):
        p, q = distribution(teacher, i), distribution(student, i)
        total += float(sum(p * (np.log(p) - np.log(q))))
    return total / len(student)


def gradient(loss: Callable[[Array], float], at: Array, step: float = 1e-5) -> Array:
    """Central differences."""
    slopes = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        shifted = [at.copy(), at.copy()]
        shifted[0][place] += step
        shifted[1][place] -= step
        slopes[place] = (loss(shifted[0]) - loss(shifted[1])) / (2 * step)
    return slopes
