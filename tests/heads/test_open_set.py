"""The head that may reject: what it calls unknown, what it is not sure of, what it answers."""

from unittest import SkipTest

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from cvgssl.heads import HEADS, OpenSetHead
from cvgssl.heads.base import UNLABELLED
from cvgssl.heads.open_set import (
    KNOWN,
    NOT_SURE,
    UNKNOWN,
    probability_threshold,
    score_threshold,
)
from cvgssl.heads.out_of_distribution import OutOfDistributionScore, evidence

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


def groups(count: int, seed: int, classes: int = 4) -> tuple[Rows, Labels]:
    """Groups in 20 directions; the last is the one that tests leave without labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return np.eye(20)[labels] + 0.15 * generator.standard_normal((count, 20)), labels


def support(labels: Labels, shots: int, unknown: int = 3) -> Labels:
    """Labels of the first `shots` rows of every class but `unknown`, -1 elsewhere."""
    target = np.full(len(labels), UNLABELLED)
    for label in np.unique(labels[labels != unknown]):
        target[np.flatnonzero(labels == label)[:shots]] = label
    return target


def test_scikit_learn_accepts_it() -> None:
    passed = 0
    for estimator, check in estimator_checks_generator(OpenSetHead(HEADS["nearest-mean"]())):
        if check.func.__name__ == "check_classifiers_classes":
            continue  # takes -1 for a class; here it says "not labelled"
        try:
            check(estimator)
            passed += 1
        except SkipTest:  # a library that is not installed
            continue
    assert passed > 30


@pytest.mark.parametrize("shots", [1, 3, 8])
@pytest.mark.parametrize("case", ["in the pool", "not in the pool", "inductive"])
def test_a_class_without_labels_is_called_unknown(case: str, shots: int) -> None:
    rows, labels = groups(400, 0)
    new, truth = groups(200, 1)
    target = support(labels, shots)
    kept = np.full(400, True)
    if case != "in the pool":
        kept = labels != 3 if case == "not in the pool" else target != UNLABELLED
    head = OpenSetHead(HEADS["kernel-ridge"]()).fit(rows[kept], target[kept])
    strange = truth == 3
    assert roc_auc_score(~strange, head.score_samples(new)) > 0.97
    verdicts = head.verdicts(new)
    # few labelled pictures alone say little about how alike pictures of a class are
    least = 0.05 if case == "inductive" and shots < 8 else 0.6
    assert (verdicts[strange] == UNKNOWN).mean() > least
    assert (verdicts[~strange] == UNKNOWN).mean() < 0.25  # asked for: 0.1
    answered = verdicts == KNOWN
    if answered.any():
        assert (head.predict(new) == truth)[answered].mean() > (head.predict(new) == truth).mean()


def test_answers_are_classes_or_words() -> None:
    rows, labels = groups(400, 0)
    words = np.array(["dent", "hole", "scratch", "?"], dtype=object)
    target = support(labels, 6)
    few = target != UNLABELLED
    head = OpenSetHead(HEADS["kernel-ridge"]()).fit(rows[few], words[labels[few]].astype(str))
    new, truth = groups(200, 1)
    answers = head.answers(new)
    assert set(answers) - {NOT_SURE} == {"dent", "hole", "scratch", UNKNOWN}
    given = np.isin(answers, head.classes_)
    assert (answers == words[truth])[given].mean() > 0.95
    doubtful = np.eye(20)[[0]] + np.eye(20)[[1]]
    head.score_threshold_, head.probability_threshold_ = 0.5, 0.7
    assert list(head.answers(doubtful)) == [NOT_SURE]
    numbers = OpenSetHead(HEADS["transport"]()).fit(rows, target).answers(new)
    assert set(numbers) >= {0, 1, 2, UNKNOWN}


def test_each_new_row_is_judged_by_itself() -> None:
    rows, labels = groups(160, 0)
    head = OpenSetHead().fit(rows, support(labels, 3))
    new, _ = groups(30, 1)
    for judge in (head.score_samples, head.confidence):
        alone = np.concatenate([judge(row[None]) for row in new])
        np.testing.assert_allclose(judge(new), alone, atol=1e-6)
    np.testing.assert_array_equal(head.predict(new), head.head_.predict(new))


def test_false_rejection_rate_and_error_are_kept() -> None:
    """That share of the known pictures is rejected; fewer mistakes cost answers."""
    rows, labels = groups(600, 0, classes=3)
    new, truth = groups(600, 1, classes=3)
    target = support(labels, 20)
    shares = []
    for rate in (0.02, 0.1, 0.3):
        head = OpenSetHead(HEADS["transport"](), false_rejection_rate=rate).fit(rows, target)
        shares.append((head.verdicts(new) == UNKNOWN).mean())
    np.testing.assert_allclose(shares, [0.02, 0.1, 0.3], atol=0.08)
    assert shares == sorted(shares)
    generator = np.random.default_rng(2)
    mixed = rows + 0.5 * generator.standard_normal(rows.shape)
    asked = new + 0.5 * generator.standard_normal(new.shape)
    found = []
    for error in (0.02, 0.3):
        head = OpenSetHead(HEADS["logistic"](), error=error).fit(mixed, target)
        sure = head.predict_proba(asked).max(axis=1) >= head.probability_threshold_
        found.append((sure.mean(), (head.predict(asked) != truth)[sure].mean()))
    assert found[0][0] < found[1][0]
    assert found[0][1] < found[1][1] < 0.35


def test_the_two_bounds() -> None:
    known = np.array([0.1, *np.linspace(2, 3, 21)])  # one of the "known" is a stranger
    unknown = np.linspace(0, 1, 11)
    assert score_threshold(known, unknown, 0) == 2
    assert score_threshold(known, unknown, 0.1) == pytest.approx(2.1)
    assert score_threshold(known, np.zeros(0), 0) == pytest.approx(0.1)
    assert score_threshold(np.zeros(0), unknown, 0.1) == 1, "more than any pair of classes"
    assert score_threshold(np.zeros(0), np.zeros(0), 0.1) == -np.inf
    truth = np.zeros(40, dtype=np.int64)
    top = np.linspace(0.99, 0.6, 40)
    found = np.stack([top, 1 - top], axis=1)
    assert probability_threshold(found, truth, 0.05, 0) == pytest.approx(0.6), "all of them right"
    found[30:] = found[30:, ::-1]  # the last ten are wrong
    assert probability_threshold(found, truth, 0.05, 0.5) == pytest.approx(top[29])
    assert probability_threshold(found, truth, 0.001, 1) == 0.999, "forty labels cannot say"
    wrong = 1 - truth
    assert probability_threshold(found, wrong, 0.05, 0) == 0.95, "they could have said"
    for distinct in (1.0, 0.5, 0.0):
        threshold = probability_threshold(found[:0], truth[:0], 0.05, distinct)
        assert threshold == 1 - 0.05 * distinct, "no label was held out"


def test_the_score_is_the_sum_that_it_says() -> None:
    rows, labels = groups(40, 0)  # few rows: no map, no crowd
    target = support(labels, 2)
    new, _ = groups(10, 1)
    units = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, new)]
    known = target >= 0
    cosine = (units[1] @ units[0][known].T).max(axis=1)
    expected = cosine + evidence(units[0][known], target[known], units[1])
    score = OutOfDistributionScore().fit(rows, target)
    np.testing.assert_allclose(score.score_samples(new), expected)
    at_labels = evidence(units[0][known], target[known], units[0][known])
    assert at_labels.min() > 0.7
    assert evidence(units[0][known], target[known], -units[0][known]).max() < 0.4


def test_the_score_counts_neighbours_and_forgets_only_labels() -> None:
    rows, labels = groups(400, 0)
    target = support(labels, 4)
    score = OutOfDistributionScore().fit(rows, target)
    known, unknown = score.example_scores(labels)
    assert len(known) == (target < 0).sum()
    assert np.median(unknown) < np.quantile(known[labels[target < 0] != 3], 0.05)
    bound = score_threshold(known, unknown, 0.05)
    assert score.score_samples(-rows[:5]).max() < bound
    assert bound < np.median(score.score_samples(rows[labels != 3]))


def test_a_single_class_has_strangers_too() -> None:
    rows, labels = groups(300, 0, classes=2)
    target = np.where(labels == 0, 0, UNLABELLED)
    target[10:] = UNLABELLED
    head = OpenSetHead(HEADS["ridge"]()).fit(rows[labels == 0], target[labels == 0])
    new, truth = groups(100, 1, classes=2)
    verdicts = head.verdicts(new)
    assert (verdicts[truth == 1] == UNKNOWN).mean() > 0.9
    assert (verdicts[truth == 0] == UNKNOWN).mean() < 0.25


def test_shares_out_of_range() -> None:
    rows, labels = groups(20, 0)
    with pytest.raises(ValueError, match="false_rejection_rate 1"):
        OpenSetHead(false_rejection_rate=1.0).fit(rows, labels)
    with pytest.raises(ValueError, match="error -0"):
        OpenSetHead(error=-0.1).fit(rows, labels)


def test_no_answers_where_a_class_is_called_like_one() -> None:
    rows, labels = groups(120, 0)
    names = np.array(["cut", "Unknown", "scratch", "pit"])[labels]
    head = OpenSetHead(HEADS["kernel-ridge"]()).fit(rows, names)
    assert set(head.verdicts(rows)) <= {KNOWN, UNKNOWN, NOT_SURE}
    with pytest.raises(ValueError, match="a class is called 'Unknown', as a verdict is"):
        head.answers(rows)
