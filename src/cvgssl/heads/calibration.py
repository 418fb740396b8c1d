"""How sure a head may be: held-out predictions, temperature scaling, calibration error.

Shape letters: N rows given to `fit`, L labelled rows held out, M other rows, K classes.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.heads.base import UNLABELLED, FewShotHead, Floats, SupportViews, softmax, unit
from cvgssl.heads.diffusion import MapHead

FOLDS = 5
FLOOR = 0.01  # of a probability: one surprise does not decide


def held_out_predictions(
    head: FewShotHead,
    features: Floats,
    target: NDArray[np.int64],
    views: SupportViews | None = None,
) -> tuple[Floats, NDArray[np.intp]]:
    """Probabilities [L, K] of labelled rows, each from a fit without its label, and their places.

    Held-out pictures remain as unlabelled ones, without their views. L is 0 where no class has two
    labels.
    """
    folds = held_out_folds(target)
    head = clone(head)
    if folds and isinstance(head, MapHead):
        head, features = head.on_map(features, target)  # labels do not move the map
    predictions = [np.zeros((0, int(target.max()) + 1))]
    for fold in folds:
        without = target.copy()
        without[fold] = UNLABELLED
        predictions.append(head.fit(features, without, views).predict_proba(features[fold]))
    return np.concatenate(predictions), np.concatenate([np.zeros(0, dtype=np.intp), *folds])


def held_out_folds(target: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Rows of the support to be held out together: up to five folds, each without losing a class.

    target: int64 [N], classes from 0. Each fold is int64 [F], places in `target`.
    Rows of a class with a single label are never held out. Empty without a class of two.
    Not scikit-learn's StratifiedKFold: that fails where classes have fewer labels than folds.
    """
    folds: list[list[int]] = [[] for _ in range(FOLDS)]
    for label in range(int(target.max()) + 1):
        rows = np.flatnonzero(target == label)
        count = min(len(rows), FOLDS)
        if count < 2:
            continue
        for place, row in enumerate(rows):
            folds[(place % count + label) % FOLDS].append(int(row))
    return [np.array(fold, dtype=np.intp) for fold in folds if fold]


def log_likelihoods(probabilities: Floats, truth: NDArray[np.int64]) -> Floats:
    """Log-probabilities [L] of the true classes [L], floored."""
    values: Floats = np.log(probabilities[np.arange(len(truth)), truth].clip(FLOOR))
    return values


TEMPERATURES = np.geomspace(0.1, 5, 30)
ANCHOR = 5.0  # labels that speak for temperature 1
INDISTINCT = (0.35, 0.65)  # see `distinctness`


def scale_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [M, K] with their logarithms divided by `temperature`.

    Guo, Pleiss, Sun & Weinberger 2017 (ICML), "On calibration of modern neural networks".
    """
    return softmax(np.log(probabilities.clip(1e-12)) / temperature)


def fit_temperature(held_out: Floats, truth: NDArray[np.int64]) -> float:
    """The temperature that gives held-out labels the largest likelihood.

    held_out, truth: probabilities [L, K] and classes [L] of held-out labels. A pull towards 1,
    worth a few labels, takes (log T)^2 each; without labels it is 1.
    """
    if not len(held_out):
        return 1.0
    likelihoods = [
        log_likelihoods(scale_temperature(held_out, temperature), truth).sum()
        - ANCHOR * np.log(temperature) ** 2
        for temperature in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmax(likelihoods))])


def mean_agreement(answers: Sequence[Floats]) -> float:
    """How often two of several heads name a row alike, 0..1, mean over pairs.

    answers: probabilities [M, K] of the same rows, of two heads or more. It estimates how often
    they are right (Jiang et al. 2022, there of networks).
    """
    pairs = combinations([rows.argmax(axis=1) for rows in answers], 2)
    return float(np.mean([np.mean(first == second) for first, second in pairs]))


def distinctness(features: Floats, target: NDArray[np.int64]) -> float:
    """How far groups of rows may be believed to be classes, from 0 to 1; no truth is needed.

    features [N, D], target [N] as for `fit`. Cosines of the rows without a label to the nearest
    labelled row, and to the nearest one of another class, are averaged. Where the second is a
    large part of the first, what the labels differ in is not what the rows differ in, and heads
    agree about groups that are no classes. The bounds were chosen inside train/
    (docs/results/dominated.md, "How high may probabilities be?").
    """
    rows, labelled = unit(features), target >= 0
    similarity = rows[~labelled] @ rows[labelled].T
    labels = target[labelled]
    by_class = [similarity[:, labels == label].max(axis=1) for label in np.unique(labels)]
    if len(by_class) < 2 or not len(similarity):
        return 1.0
    *_, second, nearest = np.sort(by_class, axis=0).mean(axis=1)
    low, high = INDISTINCT
    return float(np.clip((high - second / max(nearest, 1e-6)) / (high - low), 0, 1))


def temperature_of_confidence(probabilities: Floats, confidence: float) -> float:
    """The temperature at which the largest probability of the rows [M, K] has this mean."""
    means = [
        scale_temperature(probabilities, temperature).max(axis=1).mean()
        for temperature in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(np.abs(np.array(means) - confidence)))])


def calibration_error(probabilities: Floats, truth: NDArray[np.int64], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017), 0..1.

    Mean over pictures of |accuracy - mean largest probability| of their bin; `bins` equal
    intervals of the largest probability. probabilities: [M, K]; truth: classes [M].
    """
    top, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((top * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=correct - top, minlength=bins)
    return float(np.abs(gap).sum() / len(top))


def coverage(confidence: Floats, correct: NDArray[np.bool_], error: float = 0.01) -> float:
    """The largest share of pictures, most confident first, of whose answers `error` are wrong.

    confidence: [M], ties count together. correct: whether each answer would be right [M]; an
    answer for a picture of an unknown class is wrong. The bound comes from the truth itself, so
    this compares orders; it is not a rule that could be used.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~correct[order])
    answered = np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)
    allowed = np.flatnonzero(last & (wrong <= error * answered))
    return float(answered[allowed[-1]] / len(order)) if len(allowed) else 0.0
