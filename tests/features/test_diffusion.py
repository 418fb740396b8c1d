"""The diffusion map, on graphs whose answer is known and against a dense computation."""

from unittest import SkipTest

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import Tensor
from torch.nn import functional as F

from cvgssl.features import diffusion_map as diffusion


def clusters(count: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four long, thin groups: their ends are farther apart than the groups are."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    along = torch.rand(count, generator=generator) * 1.2 - 0.6
    centres = torch.eye(6)[labels] * 0.35
    centres[:, 4] = along
    noisy = centres + noise * torch.randn(count, 6, generator=generator)
    noisy[:, 5] += 1.5
    return F.normalize(noisy, dim=1), labels


def diffusion_map(embedding: Tensor, *options: int, **named: float) -> Tensor:
    return torch.from_numpy(diffusion.diffusion_map(embedding.numpy(), *options, **named))  # type: ignore[arg-type]


def nearest_mean(features: Tensor, labels: Tensor) -> float:
    """Accuracy of the nearest of one picture per class, by cosine."""
    features = F.normalize(features, dim=1)
    support = torch.stack([features[labels == label][0] for label in range(4)])
    return float((torch.cdist(features, support).argmin(1) == labels).double().mean())


def test_it_brings_together_what_a_chain_of_neighbours_connects() -> None:
    embedding, labels = clusters(400, 0.04)
    assert nearest_mean(embedding, labels) < 0.7
    steps = [nearest_mean(diffusion_map(embedding, 8, time), labels) for time in (2, 8, 32)]
    assert sorted(steps) == steps, "more steps, more of a chain is one"
    assert steps[-1] > 0.97


def test_it_agrees_with_a_dense_computation() -> None:
    embedding, _ = clusters(60, 0.1, seed=3)
    found = diffusion_map(embedding, 7, time=2.0, width=5).double().numpy()

    points = embedding.double().numpy()
    squared = np.square(points[:, None] - points[None]).sum(-1)
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1)[:, :7]
    scale = np.sqrt(squared[np.arange(60), order[:, 3]])
    weights = np.zeros((60, 60))
    for i in range(60):
        for j in order[i]:
            weights[i, j] = weights[j, i] = np.exp(-squared[i, j] / (scale[i] * scale[j]))
    walk = weights / weights.sum(1, keepdims=True)
    values, vectors = np.linalg.eig(walk)
    best = np.argsort(-values.real)[1:6]
    expected = vectors.real[:, best] / np.sqrt(
        (weights.sum(1)[:, None] * vectors.real[:, best] ** 2).sum(0)
    )
    expected = expected * values.real[best] ** 2
    expected /= expected.std(0).max()
    signs = np.sign((expected * found).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-4)


def test_separate_groups_and_repeated_pictures() -> None:
    generator = torch.Generator().manual_seed(1)
    apart = torch.zeros(40, 5)
    apart[:20, 0] = apart[20:, 1] = 1
    apart[:, 2:] = 0.05 * torch.randn(40, 3, generator=generator)
    apart[5:10] = apart[4]
    found = diffusion_map(F.normalize(apart, dim=1), 3)
    assert found.isfinite().all()
    assert found.shape == (40, 38)
    within = torch.cdist(found[:20], found[:20]).mean()
    assert torch.cdist(found[:20], found[20:]).mean() > 1.5 * within


@pytest.mark.parametrize("dense", [True, False])
def test_a_graph_in_many_pieces(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 30 groups of twins is a piece; every one of them has its own place."""
    monkeypatch.setattr(diffusion, "DENSE", 10**6 if dense else 0)
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(30, 40, generator=generator)
    points = centres.repeat(20, 1) + 0.01 * torch.randn(600, 40, generator=generator)
    found = diffusion_map(F.normalize(points, dim=1), 8)
    middle = found.view(20, 30, -1).mean(0)
    within = (found.view(20, 30, -1) - middle).norm(dim=2).mean()
    between = torch.cdist(middle, middle) + 1e9 * torch.eye(30)
    assert between.min() > 4 * within


def test_the_same_pictures_give_the_same_map() -> None:
    embedding, _ = clusters(200, 0.05)
    assert torch.equal(diffusion_map(embedding, 10), diffusion_map(embedding, 10))


@pytest.mark.parametrize("count", [3, 4, 12])
def test_few_pictures(count: int) -> None:
    embedding = F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(2)))
    found = diffusion_map(embedding, 10)
    assert found.shape == (count, count - 2)
    assert found.isfinite().all()


def test_scikit_learn_accepts_the_transformer() -> None:
    passed = 0
    for estimator, check in estimator_checks_generator(diffusion.DiffusionMap(width=2)):
        try:
            check(estimator)
            passed += 1
        except SkipTest:  # a library that is not installed
            continue
    assert passed > 30


def test_the_transformer_is_kernel_ridge_regression_of_the_map() -> None:
    embedding, _ = clusters(300, 0.05)
    rows = embedding[:250].double().numpy()
    new = embedding[250:].double().numpy()
    mapper = diffusion.DiffusionMap(neighbours=8, width=6).fit(7 * rows)
    found = mapper.transform(new)
    assert found.shape == (50, 6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    coordinates = diffusion.diffusion_map(rows, 8, 8.0, 6)
    mean = coordinates.mean(axis=0)
    squared = np.square(rows[:, None] - rows[None]).sum(-1)
    regression = KernelRidge(alpha=1e-5 * 250, kernel="rbf", gamma=1 / np.median(squared))
    expected = regression.fit(rows, coordinates - mean).predict(new) + mean
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    # the graph is in pieces, whose equal eigenvalues leave the axes' directions open
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    known = mapper.transform(rows)
    again = clone(mapper).fit_transform(rows)
    np.testing.assert_allclose(again @ again.T, known @ known.T, atol=1e-5)
