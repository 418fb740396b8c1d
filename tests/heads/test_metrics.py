import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from cvgssl.heads.metrics import (
    accuracy,
    accuracy_interval,
    confusion,
    macro_recall,
    macro_recall_interval,
    mean_interval,
    recalls,
    wilson_interval,
)

COUNTS = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 6]])


def test_figures_by_hand() -> None:
    assert accuracy(COUNTS) == pytest.approx(100 * 17 / 20)
    assert recalls(COUNTS).tolist() == pytest.approx([80, 75, 100])
    assert macro_recall(COUNTS) == pytest.approx(85)


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    labels, predicted = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 0, 0])
    assert confusion(labels, predicted, 4).tolist() == [
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [2, 0, 1, 0],
        [0, 0, 0, 0],
    ]


def test_a_class_without_test_pictures_has_no_recall_and_no_vote() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    by_class = recalls(counts)
    assert math.isnan(by_class[1])
    assert by_class[[0, 2]].tolist() == [75, 50]
    assert macro_recall(counts) == 62.5


def test_the_interval_is_that_of_students_t() -> None:
    values = [81.5, 79.0, 84.25, 80.0, 83.0]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert found.std is not None
    assert found.ci95 == pytest.approx((high - low) / 2)
    assert str(found) == f"81.55 ± {found.ci95:.2f}"
    # t of 4 degrees of freedom from a printed table
    assert found.ci95 == pytest.approx(2.776 * found.std / 5**0.5, rel=1e-3)


def test_a_single_draw_says_nothing_about_spread() -> None:
    found = mean_interval([90.0])
    assert (found.mean, found.std, found.ci95) == (90.0, None, None)
    assert str(found) == "90.00"


predictions = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1)
    )
)


def _counts(k: int, pairs: list[tuple[int, int]]) -> NDArray[np.int64]:
    labels, predicted = np.array(pairs, dtype=np.int64).T
    return confusion(labels, predicted, k)


@given(predictions)
def test_confusion_counts_every_picture_once(case: tuple[int, list[tuple[int, int]]]) -> None:
    k, pairs = case
    counts = _counts(k, pairs)
    assert counts.shape == (k, k)
    assert counts.sum() == len(pairs)
    assert all(counts[pair] == pairs.count(pair) for pair in pairs)
    hits = sum(label == predicted for label, predicted in pairs)
    assert accuracy(counts) == pytest.approx(100 * hits / len(pairs))


@given(predictions, st.randoms())
def test_figures_do_not_depend_on_the_order_of_classes(
    case: tuple[int, list[tuple[int, int]]], random: object
) -> None:
    k, pairs = case
    order = list(range(k))
    random.shuffle(order)  # type: ignore[attr-defined]
    renamed = _counts(k, [(order[label], order[predicted]) for label, predicted in pairs])
    counts = _counts(k, pairs)
    assert accuracy(renamed) == pytest.approx(accuracy(counts))
    assert macro_recall(renamed) == pytest.approx(macro_recall(counts))
    assert 0 <= macro_recall(counts) <= 100


@given(st.integers(2, 6), st.integers(1, 20), st.data())
def test_with_equal_classes_macro_recall_is_accuracy(k: int, n: int, data: st.DataObject) -> None:
    predicted = data.draw(st.lists(st.integers(0, k - 1), min_size=k * n, max_size=k * n))
    counts = confusion(np.repeat(np.arange(k), n), np.array(predicted), k)
    assert macro_recall(counts) == pytest.approx(accuracy(counts))


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(-50, 50))
def test_a_shift_of_all_draws_moves_the_mean_only(values: list[float], shift: float) -> None:
    before, after = mean_interval(values), mean_interval([value + shift for value in values])
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-9)
    assert after.std == pytest.approx(before.std, abs=1e-9)
    assert before.ci95 is not None
    assert before.ci95 >= 0


def test_wilsons_interval_is_scipys_and_of_one_class_the_macro_recall_has_it() -> None:
    for right, total in ((0, 5), (5, 5), (7, 9), (180, 193)):
        wanted = stats.binomtest(right, total).proportion_ci(method="wilson")
        expected = pytest.approx((100 * wanted.low, 100 * wanted.high))
        assert wilson_interval(right, total) == expected
        counts = np.array([[right, total - right], [0, 0]])
        assert accuracy_interval(counts) == macro_recall_interval(counts) == expected


def test_a_rare_class_widens_the_interval_of_macro_recall() -> None:
    few, many = (macro_recall_interval(np.diag([100, number])) for number in (4, 100))
    assert few[1] == many[1] == pytest.approx(100)
    assert few[0] < many[0] < 100
