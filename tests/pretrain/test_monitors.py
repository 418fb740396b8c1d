"""Figures that need no labels, on embeddings whose values are known."""

import pytest
import torch

from cvgssl.pretrain.monitors import (
    effective_rank,
    linear_cka,
    nearest_neighbour_accuracy,
    spread,
    warning,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_spread_is_one_for_even_directions_and_zero_for_one() -> None:
    even = torch.randn(4000, 32)
    assert spread(even) == pytest.approx(1, abs=0.02)
    assert spread(10 * even) == pytest.approx(spread(even))
    assert spread(torch.ones(100, 32)) == pytest.approx(0, abs=1e-6)


def test_effective_rank_counts_directions() -> None:
    basis = torch.linalg.qr(torch.randn(40, 40))[0]
    coordinates = torch.linalg.qr(torch.randn(500, 5) - 0)[0]
    coordinates -= coordinates.mean(0)
    assert effective_rank(coordinates @ basis[:5]) == pytest.approx(5, abs=0.1)
    line = torch.randn(500, 1) @ torch.randn(1, 40) + 3
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)


def test_agreement_ignores_rotation_scale_and_shift() -> None:
    one = torch.randn(300, 8)
    rotation = torch.linalg.qr(torch.randn(8, 8))[0]
    assert linear_cka(one, 5 * one @ rotation + 2) == pytest.approx(1, abs=1e-6)
    assert linear_cka(one, torch.randn(300, 8)) < 0.1


def test_nearest_neighbour_never_finds_the_picture_itself() -> None:
    embedding = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    assert nearest_neighbour_accuracy(embedding, torch.tensor([0, 0, 1, 1])) == 1
    assert nearest_neighbour_accuracy(embedding, torch.tensor([0, 1, 0, 1])) == 0


def test_collapse_is_named_with_a_remedy() -> None:
    assert warning({"std": 0.8, "rank": 20.0}) is None
    for figures in ({"std": 0.01, "rank": 20.0}, {"std": 0.8, "rank": 1.1}):
        text = warning(figures)
        assert text is not None
        assert "collapses" in text
        assert "--lr" in text
