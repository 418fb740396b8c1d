"""What labels say of those to come, on groups whose classes are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cvgssl.selection.candidates import Candidates
from cvgssl.selection.outlook import outlook
from cvgssl.selection.strategies import medoids

MakeCandidates = Callable[..., tuple[Candidates, NDArray[np.int64]]]


def labelled(candidates: Candidates, truth: NDArray[np.int64], rows: list[int]) -> Candidates:
    labels = np.full(len(truth), -1)
    labels[rows] = truth[rows]
    return replace(candidates, labels=labels, closed=labels >= 0)


def test_groups_that_are_told_apart_need_no_further_labels(blobs: MakeCandidates) -> None:
    candidates, truth = blobs((60, 40, 25, 15))
    rows = medoids(candidates, 16, 0).order.tolist()
    seen = outlook(labelled(candidates, truth, rows), rows)
    assert (seen.labels, seen.classes, seen.single, seen.unseen) == (16, 4, 0, 0)
    assert seen.changed == 0
    assert seen.enough
    assert "further labels would hardly pay" in str(seen)


def test_answers_that_change_and_classes_of_one_label_ask_for_more(blobs: MakeCandidates) -> None:
    candidates, truth = blobs((60, 40, 25, 15))
    rows = [0, 1, 2, 60, 61, 100]  # the third class comes last, by one picture
    seen = outlook(labelled(candidates, truth, rows), rows)
    assert seen.changed == pytest.approx(25 / 140, abs=0.1)
    assert not seen.enough
    assert "further labels pay" in str(seen)
    several = [*rows, 125]
    seen = outlook(labelled(candidates, truth, several), several)
    # two classes of one label, one of two: 2 * 1 / (2 * 2); seven labels are under two per class
    assert (seen.single, seen.unseen) == (2, None)
    several += [3]
    assert outlook(labelled(candidates, truth, several), several).unseen == 0.5


def test_too_few_labels_to_tell(blobs: MakeCandidates) -> None:
    candidates, truth = blobs((60, 40, 25, 15))
    seen = outlook(labelled(candidates, truth, [0]), [0])
    assert (seen.classes, seen.unseen, seen.changed) == (1, None, None)
    assert str(seen).count("too few labels to tell") == 2


def test_where_one_class_has_most_labels_no_stop_is_advised(blobs: MakeCandidates) -> None:
    candidates, truth = blobs((120, 10))
    rows = [*range(8), 120, 121]
    seen = outlook(labelled(candidates, truth, rows), rows)
    assert (seen.single, seen.unseen, seen.largest) == (0, 0, 0.8)
    assert not seen.enough
    assert "no sign of a class not seen yet" in str(seen)
    assert "too few labels to tell whether more would pay" in str(seen)  # 6 of the first class
    rows = [0, 120, 1, 121, 2, 3, 4, 5, 6]
    seen = outlook(labelled(candidates, truth, rows), rows)
    assert seen.changed == 0
    assert not seen.enough
    assert "78 % of the labels are of one class, so this tells little" in str(seen)
