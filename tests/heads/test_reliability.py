import numpy as np
import pytest
from sklearn.metrics import log_loss

from cvgssl.heads.calibration import calibration_error, coverage


def test_calibration_error_by_hand() -> None:
    top = np.array([0.95, 0.96, 0.55, 0.54, 0.98])  # bins 14, 14, 8, 8, 14 of 15
    probabilities = np.stack([top, 1 - top], axis=1)
    truth = np.array([0, 0, 1, 0, 1])
    sure, doubtful = abs(2 / 3 - np.mean([0.95, 0.96, 0.98])), abs(0.5 - np.mean([0.55, 0.54]))
    assert calibration_error(probabilities, truth) == pytest.approx(0.6 * sure + 0.4 * doubtful)
    assert calibration_error(np.eye(3), np.arange(3)) == 0


def test_calibration_error_of_honest_probabilities_is_small() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([0.3] * 4, size=20_000)
    truth = (probabilities.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    assert calibration_error(probabilities, truth) < 0.02
    boastful = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert calibration_error(boastful, truth) > 0.08
    assert log_loss(truth, boastful) > log_loss(truth, probabilities)


def test_coverage() -> None:
    confidence = np.linspace(1, 0, 200)
    right = np.ones(200, dtype=bool)
    assert coverage(confidence, right) == 1
    right[99] = False  # one of a hundred is allowed, from the hundredth on
    assert coverage(confidence, right) == 1
    right[100:110] = False
    assert coverage(confidence, right) == 0.5
    right[0] = False
    assert coverage(confidence, right) == 0
    assert coverage(confidence, right, error=1) == 1


def test_coverage_counts_ties_together() -> None:
    """Half of those who are equally sure are wrong: none of them can be answered."""
    right = np.arange(100) % 2 == 0
    assert coverage(np.ones(100), np.sort(right)[::-1]) == 0
