"""Heads that have text embeddings of the classes: with labels, with few, with none."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from cvgssl.heads import ALL_HEADS, HEADS, TEXT_HEADS, OpenSetHead, own_parameters
from cvgssl.heads.base import UNLABELLED, takes_views

Floats = NDArray[np.float64]
GAP = np.r_[np.zeros(20), 3.0]  # texts lie apart from pictures, as in a CLIP
GOOD = 0.3 * np.eye(4, 21) + GAP
BAD = 0.3 * np.eye(4, 21)[[1, 0, 3, 2]] + GAP  # every text means another class


def pictures(count: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Four groups around a common mean."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    rows = np.eye(4, 21)[labels] * 0.6 + 0.25 * generator.standard_normal((count, 21)) - GAP / 3
    return rows, labels


def right(head: object, seed: int = 1) -> float:
    rows, labels = pictures(400, seed)
    return float((head.predict(rows) == labels).mean())  # type: ignore[attr-defined]


def test_names() -> None:
    assert list(ALL_HEADS) == [*HEADS, *TEXT_HEADS]
    for name, head in TEXT_HEADS.items():
        assert head.uses_unlabelled is False and not takes_views(head)
        assert {"anchors", "classes", "anchor_scale"} == {*head().get_params()} - {
            *own_parameters(name)
        }
    assert own_parameters("tip-adapter") == HEADS["tip-adapter"]().get_params()


def test_zero_shot_is_the_softmax_of_scaled_cosines_and_needs_no_labels() -> None:
    rows, labels = pictures(40)
    head = TEXT_HEADS["zero-shot"](anchors=GOOD, anchor_scale=50.0).fit(rows)
    cosine = rows @ GOOD.T / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(GOOD[0])
    wanted = np.exp(50 * cosine) / np.exp(50 * cosine).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(rows), wanted, atol=1e-12)
    assert right(head) > 0.8
    for target in (np.full(40, UNLABELLED), labels, np.where(labels == 2, 2, UNLABELLED)):
        again = TEXT_HEADS["zero-shot"](anchors=GOOD, anchor_scale=50.0).fit(rows, target)
        np.testing.assert_allclose(again.predict_proba(rows), wanted, atol=1e-12)
        assert again.classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", TEXT_HEADS)
def test_classes_are_those_of_the_anchors(name: str) -> None:
    """In any order, also those without a labelled picture."""
    rows, labels = pictures(80)
    called = np.array(["pit", "dent", "scratch", "ash"])
    known = labels < 2
    head = TEXT_HEADS[name](anchors=GOOD, classes=called, anchor_scale=30.0)
    head.fit(rows[known][:20], called[labels[known][:20]])
    assert head.classes_.tolist() == sorted(called)
    new, truth = pictures(200, 1)
    found = head.predict(new)
    assert (found == called[truth]).mean() > 0.75
    assert set(found[truth > 1]) >= {"scratch", "ash"}, "nobody labelled them"
    probabilities = head.predict_proba(new)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    alone = np.concatenate([head.predict_proba(row[None]) for row in new[:9]])
    np.testing.assert_allclose(alone, probabilities[:9], atol=1e-9)
    again = clone(head).fit(rows[known][:20], called[labels[known][:20]])
    np.testing.assert_array_equal(again.predict(new), found)


@pytest.mark.parametrize("name", TEXT_HEADS)
def test_unlabelled_rows_change_nothing_and_no_label_at_all_is_zero_shot(name: str) -> None:
    rows, labels = pictures(80)
    target = np.where(np.arange(80) < 8, labels, UNLABELLED)
    one = TEXT_HEADS[name](anchors=GOOD).fit(rows, target)
    other = TEXT_HEADS[name](anchors=GOOD).fit(rows[:8], labels[:8])
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))
    alone = TEXT_HEADS[name](anchors=GOOD).fit(rows, np.full(80, UNLABELLED))
    texts = TEXT_HEADS["zero-shot"](anchors=GOOD).fit(rows)
    np.testing.assert_array_equal(alone.predict(rows), texts.predict(rows))


def test_tip_with_texts_is_tip_adapter_with_anchors() -> None:
    rows, labels = pictures(40)
    plain = HEADS["tip-adapter"](anchors=GOOD).fit(rows, labels)  # type: ignore[call-arg]
    text = TEXT_HEADS["text-tip"](anchors=GOOD).fit(rows, labels)
    np.testing.assert_allclose(text.predict_proba(rows), plain.predict_proba(rows), atol=1e-12)


@pytest.mark.parametrize("shots", [1, 4, 16])
def test_ridge_takes_from_texts_what_they_know(shots: int) -> None:
    """Good texts help; texts that say nothing, or the wrong thing, are found out by the labels."""
    chance = np.random.default_rng(2).standard_normal((4, 21))
    kinds = {"good": GOOD + 0.07 * chance, "bad": BAD, "nothing": 0.3 * chance + GAP}
    found: dict[str, list[float]] = {}
    weights: dict[str, list[float]] = {}
    for seed in range(8):
        rows, labels = pictures(4 * shots, seed)
        plain = HEADS["kernel-ridge"]().fit(rows, labels)
        found.setdefault("plain", []).append(right(plain, seed + 50))
        for kind, anchors in kinds.items():
            head = TEXT_HEADS["text-ridge"](anchors=anchors).fit(rows, labels)
            found.setdefault(kind, []).append(right(head, seed + 50))
            weights.setdefault(kind, []).append(head.weight_)  # type: ignore[attr-defined]
    means = {kind: float(np.mean(values)) for kind, values in found.items()}
    texts = right(TEXT_HEADS["zero-shot"](anchors=kinds["good"]).fit(pictures(4)[0]))
    assert means["good"] > max(means["plain"], texts), (means, texts)
    lost = {1: 0.2, 4: 0.05, 16: 0.02}[shots]  # one label a class hardly tells good from bad
    assert min(means["bad"], means["nothing"]) > means["plain"] - lost, means
    if shots > 1:
        assert np.mean(weights["good"]) > np.mean(weights["bad"] + weights["nothing"])


@pytest.mark.parametrize("shots", [1, 2, 6])
def test_verdicts_where_pictures_lie_in_a_narrow_cone(shots: int) -> None:
    """They are not centred for these heads, which says nothing about how distinct classes are."""
    truth = np.arange(300) % 5  # the fifth class is in no picture of `fit`

    def seen(seed: int) -> Floats:
        noise = np.random.default_rng(seed).standard_normal((300, 21))
        return 0.6 * np.eye(5, 21)[truth] + 0.12 * noise - 2 * GAP

    known = truth < 4
    target = np.where(np.arange(300) < 5 * shots, truth, UNLABELLED)
    head = OpenSetHead(TEXT_HEADS["text-ridge"](anchors=GOOD)).fit(seen(0)[known], target[known])
    assert head.probability_threshold_ < 0.96
    verdicts = head.verdicts(seen(1))
    assert (verdicts[known] == "unknown").mean() < 0.35
    assert (verdicts[~known] == "unknown").mean() > 0.8
    assert (verdicts[known] == "known").mean() > 0.5


@pytest.mark.parametrize("name", TEXT_HEADS)
def test_mistakes_are_told(name: str) -> None:
    rows, labels = pictures(8)
    make = TEXT_HEADS[name]
    with pytest.raises(ValueError, match="anchors: text embeddings of the classes are needed"):
        make().fit(rows, labels)
    with pytest.raises(ValueError, match=r"one row of 21 numbers .* same CLIP"):
        make(anchors=GOOD[:, :7]).fit(rows, labels)
    with pytest.raises(ValueError, match=r"anchors of 3 classes.*y has \[0, 1, 2, 3\]"):
        make(anchors=GOOD[:3]).fit(rows, labels)
    with pytest.raises(ValueError, match="give `classes`, one for each row"):
        make(anchors=GOOD, classes=["a", "b", "c", "c"]).fit(rows)
    with pytest.raises(ValueError, match=r"y has \['dent'\]"):
        make(anchors=GOOD, classes=list("abcd")).fit(rows, np.full(8, "dent"))
    with pytest.raises(ValueError, match="NaN"):
        make(anchors=GOOD).fit(np.full((8, 21), np.nan), labels)
