import json
from dataclasses import asdict

import pytest

from cvgssl.adapt.summary import score_draws, scores
from cvgssl.adapt.training import DrawResult

FIRST, SECOND = [[3, 1], [0, 4]], [[2, 2], [0, 4]]  # 87.5 and 75 per cent


def test_the_headline_is_the_last_epoch_and_the_best_stands_apart() -> None:
    results = [
        DrawResult(1, FIRST, None, best_accuracy=100.0, best_epoch=2),
        DrawResult(2, SECOND, None, best_accuracy=87.5, best_epoch=5),
    ]
    last, averaged, best = score_draws(results, ["crack", "pit"])
    assert last.accuracy.mean == pytest.approx(81.25)
    assert last.macro_recall.mean == pytest.approx(81.25)
    assert last.class_recall == {"crack": pytest.approx(62.5), "pit": pytest.approx(100)}
    assert [each["accuracy"] for each in last.by_draw] == [87.5, 75.0]
    assert last.confusion == [[5, 3], [0, 8]]
    assert best.mean == pytest.approx(93.75)
    assert averaged is None


def test_averaged_weights_have_figures_of_their_own() -> None:
    last, averaged, _ = score_draws([DrawResult(1, FIRST, SECOND, 90.0, 1)], ["crack", "pit"])
    assert averaged is not None
    assert (last.accuracy.mean, averaged.accuracy.mean) == (87.5, 75.0)
    assert last.accuracy.ci95 is None


def test_a_class_without_test_pictures_is_none_and_json_has_no_nan() -> None:
    found = scores([[[3, 1, 0], [0, 0, 0], [0, 0, 2]]], ["a", "b", "c"])
    assert found.class_recall == {"a": 75.0, "b": None, "c": 100.0}
    assert found.macro_recall.mean == pytest.approx(87.5)
    json.dumps(asdict(found), allow_nan=False)
