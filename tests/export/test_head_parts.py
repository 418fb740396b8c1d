"""Heads and preparation as parts of a graph say what the estimators say."""

from typing import Any, get_args

import numpy as np
import pytest
import torch

from cvgssl.export.heads import HeadPart, PreparationPart
from cvgssl.features.preparation import Preparation
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.heads import HEADS, TEXT_HEADS, OpenSetHead
from cvgssl.heads.propagation import LabelPropagation


def clouds(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [count, 12] around `classes` centres, and their classes."""
    truth = np.arange(count) % classes
    noise = np.random.default_rng(2).standard_normal((count, 12))
    return np.eye(12)[truth] + 0.25 * noise, truth


def compare(head: OpenSetHead, rows: np.ndarray) -> None:
    part = HeadPart.of(head)
    apart = 1e-6 if isinstance(head.head, LabelPropagation) else 1e-9  # it compares in float32
    for row in rows:
        probabilities, score = part(torch.from_numpy(row[None]))
        np.testing.assert_allclose(probabilities.numpy(), head.predict_proba(row[None]), atol=apart)
        np.testing.assert_allclose(score.numpy(), head.score_samples(row[None]), atol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_with_unlabelled_pictures(name: str, classes: int) -> None:
    rows, truth = clouds(140, classes)
    labels = np.where(np.arange(140) < 3 * classes, truth, -1)
    head = OpenSetHead(HEADS[name]()).fit(rows, labels)
    compare(head, clouds(12, classes)[0][3:] + 0.3)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_unlabelled_pictures(name: str) -> None:
    rows, truth = clouds(9, 3)
    compare(OpenSetHead(HEADS[name]()).fit(rows, truth), clouds(8, 3)[0] - 0.2)


@pytest.mark.parametrize("options", [{}, {"kernel": "linear"}])
@pytest.mark.parametrize("name", TEXT_HEADS)
def test_a_head_with_texts(name: str, options: dict[str, Any]) -> None:
    """Pictures lie in a narrow cone around a common mean, and texts around another one."""
    rows, truth = clouds(140, 4)
    rows += np.eye(12)[10] * 4
    head = TEXT_HEADS[name]
    taken = {key: options[key] for key in options if key in head().get_params()}
    anchors = np.eye(12)[[1, 0, 2, 3]] + np.eye(12)[11]  # the first two are taken for each other
    labels = np.where(np.arange(140) < 20, truth, -1)
    fitted = OpenSetHead(head(anchors=anchors, anchor_scale=30.0, **taken)).fit(rows, labels)
    compare(fitted, rows[30:42] + 0.1)
    assert len(set(fitted.predict(rows[30:42]))) == 4


def test_the_candidates_share_a_map_and_the_score_its_rows() -> None:
    rows, truth = clouds(140, 4)
    head = OpenSetHead(HEADS["auto"]()).fit(rows, np.where(np.arange(140) < 8, truth, -1))
    part = HeadPart.of(head)
    assert len(head.head_.head_.heads_) == 3 and len(part.maps) == 1
    assert part.score.rows is part.maps[0].landmarks


@pytest.mark.parametrize("mode", get_args(PreparationMode))
@pytest.mark.parametrize("blocks", [(), ((5, 1.0), (7, 2.5))])
def test_preparation(mode: PreparationMode, blocks: Any) -> None:
    rows = clouds(40, 3)[0].astype(np.float32)
    rows[:, :5] = np.abs(rows[:, :5])  # activations after a ReLU, whose root is taken
    preparation = Preparation(mode, blocks).fit(rows)
    others = rows[:6] - np.float32(0.05)
    part = PreparationPart(preparation)
    for row in others:
        answered = part(torch.from_numpy(row[None])).numpy()
        np.testing.assert_allclose(answered, preparation.transform(row[None]), atol=1e-6)
