"""Further views of labelled pictures: who learns from them, and who must not see them."""

import numpy as np
import pytest

from cvgssl.heads import HEADS, CalibratedHead, OpenSetHead
from cvgssl.heads.auto import AutoHead
from cvgssl.heads.base import FewShotHead, Floats, SupportViews, takes_views
from cvgssl.heads.calibration import held_out_folds, held_out_predictions

TRUTH = np.arange(180) % 3
GENERATOR = np.random.default_rng(0)
ROWS = np.eye(12)[TRUTH] + 0.3 * GENERATOR.standard_normal((180, 12))
TARGET = np.where(np.arange(180) < 12, TRUTH, -1)
# two views of every row, with or without a label
OF = np.repeat(np.arange(180), 2)
VIEWS = SupportViews(ROWS[OF] + 0.3 * GENERATOR.standard_normal((360, 12)), OF)
ASKED = np.eye(12)[TRUTH] + 0.4 * GENERATOR.standard_normal((180, 12))


def answer(head: FewShotHead, views: SupportViews | None) -> Floats:
    return head.fit(ROWS, TARGET, views).predict_proba(ASKED)


@pytest.mark.parametrize("name", [name for name in HEADS if not HEADS[name].uses_unlabelled])
def test_heads_of_labels_alone_see_them_as_further_pictures(name: str) -> None:
    rows = np.concatenate([ROWS[:12], VIEWS.values[:24]])
    labels = np.concatenate([TRUTH[:12], TRUTH[OF[:24]]])
    further = HEADS[name]().fit(rows, labels).predict_proba(ASKED)
    np.testing.assert_allclose(answer(HEADS[name](), VIEWS), further, atol=1e-12)
    assert not np.allclose(further, answer(HEADS[name](), None))


@pytest.mark.parametrize("name", [name for name in HEADS if not takes_views(HEADS[name])])
def test_other_heads_do_not_look_at_them(name: str) -> None:
    assert np.array_equal(answer(HEADS[name](), VIEWS), answer(HEADS[name](), None))


def test_auto_gives_them_to_kernel_ridge_only() -> None:
    head = AutoHead().fit(ROWS, TARGET, VIEWS)
    assert head.decision_.candidates == ("kernel-ridge", "diffusion", "transport")
    for name, candidate in zip(head.decision_.candidates, head.heads_, strict=True):
        views = VIEWS if name == "kernel-ridge" else None
        assert np.array_equal(candidate.predict_proba(ASKED), answer(HEADS[name](), views))


def test_a_held_out_label_takes_its_views_with_it() -> None:
    """A view that is the picture itself would name it for certain."""
    copies = SupportViews(ROWS[OF], OF)
    found, rows = held_out_predictions(HEADS["knn"](), ROWS, TARGET, copies)
    for fold in held_out_folds(TARGET):
        kept = np.setdiff1d(np.arange(12), fold)
        rest = np.concatenate([kept, np.repeat(kept, 2)])
        wanted = HEADS["knn"]().fit(ROWS[rest], TRUTH[rest]).predict_proba(ROWS[fold])
        np.testing.assert_allclose(found[np.isin(rows, fold)], wanted, atol=1e-12)


@pytest.mark.parametrize("around", [CalibratedHead, OpenSetHead])
def test_heads_around_a_head_hand_them_on(around: type[CalibratedHead | OpenSetHead]) -> None:
    head = around(HEADS["kernel-ridge"]()).fit(ROWS, TARGET, VIEWS)
    inner = head.head_ if isinstance(head, CalibratedHead) else head.head_.head_
    assert np.array_equal(inner.predict_proba(ASKED), answer(HEADS["kernel-ridge"](), VIEWS))
