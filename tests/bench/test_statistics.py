import numpy as np
import pytest
from scipy import stats

from cvgssl.bench.cells import CellResult
from cvgssl.bench.statistics import holm, paired_p, summarize


def test_the_p_value_is_that_of_the_paired_t_test() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.normal(90, 2, 12), chance.normal(89, 2, 12)
    expected = stats.ttest_rel(first, second).pvalue
    assert paired_p(list(first - second)) == pytest.approx(expected, rel=1e-9)


def test_the_p_value_at_the_edges() -> None:
    assert paired_p([1.0]) is None
    assert paired_p([0.0, 0.0, 0.0]) == 1.0
    assert paired_p([2.0, 2.0, 2.0]) == 0.0


def test_holm_on_a_worked_example() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, never below one before: .06
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def cell(
    head: str, setting: str, shot: int, recall: list[float], draws: str = "random"
) -> CellResult:
    return CellResult(
        "key", "steel", "vit", head, setting, shot, draws, False, {}, recall, recall,
        [0.1] * len(recall), ["a", "b"], [[1, 0], [0, 1]], {}, [],
    )  # fmt: skip


def test_differences_are_paired_and_stay_within_a_setting_and_shot() -> None:
    results = [
        cell("base", "inductive", 1, [70, 80, 90]),
        cell("other", "inductive", 1, [72, 81, 93]),
        cell("base", "semi-supervised", 1, [10, 10, 10]),
        cell("other", "semi-supervised", 1, [5, 6, 7]),
        cell("other", "semi-supervised", 4, [5, 6, 7]),
    ]
    rows = summarize(results, "base")
    assert [row.difference is None for row in rows] == [True, False, True, False, True]
    found = rows[1].difference
    assert found is not None
    assert found.points.mean == pytest.approx(2)
    assert found.points.std == pytest.approx(1)
    assert found.p == pytest.approx(stats.ttest_1samp([2, 1, 3], 0).pvalue)
    assert found.p_holm == found.p, "one comparison in this table"


def test_other_draws_are_not_paired() -> None:
    results = [
        cell("base", "inductive", 1, [70, 80, 90]),
        cell("base, chosen", "inductive", 1, [71, 81, 91], draws="chosen"),
    ]
    assert [row.difference for row in summarize(results, "base")] == [None, None]
