"""Unlabelled pictures beside the labelled ones: pseudo-labels by `auto`, drawn into batches.

M pictures of the pool are used, B of them in an epoch; C channels, S side in pixels.

Shape letters: N pictures, M unlabelled ones, B of a batch, D features, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.adapt.data import Task
from cvgssl.adapt.frozen_features import FeatureExtractor
from cvgssl.features.feature_store import Rows
from cvgssl.features.table import UNLABELLED
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.seeds import seed_for
from cvgssl.views.random_views import augmented_views


@dataclass(frozen=True)
class PseudoLabels:
    """Confident predictions. rows: [M], of the training pictures; labels: int64 [M], 0..K-1.

    weights: float64 [M], the probability of the label, 1/K..1: what a picture counts in the loss.
    """

    rows: Rows
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]


def guess(
    features: NDArray[np.float32], labels: NDArray[np.int64], support: Rows, share: float
) -> PseudoLabels:
    """Pseudo-labels by the head `auto` for the pictures outside the support.

    features: [N, D], of a frozen backbone. labels: [N]; only those of the support are looked at.
    share: see `confident`.
    """
    from cvgssl.features.preparation import Preparation  # only here, as scikit-learn takes a second
    from cvgssl.heads.auto import AutoHead

    target = np.full(len(features), UNLABELLED, dtype=np.int64)
    target[support] = labels[support]
    head = AutoHead()
    head.fit(Preparation().fit_transform(features), target)
    return confident(head.label_distributions_, target, share)


def confident(
    distributions: NDArray[np.float64], target: NDArray[np.int64], share: float
) -> PseudoLabels:
    """Of the unlabelled rows, the surest `share` of each guessed class, at least one of it.

    distributions: [N, K]. target: [N], -1 where not labelled. A share for each class instead of
    one threshold keeps difficult classes (Zou et al. 2018, ECCV, "Class-balanced
    self-training").
    """
    guessed, sure = distributions.argmax(axis=1), distributions.max(axis=1)
    kept = []
    for label in range(distributions.shape[1]):
        rows = np.flatnonzero((target == UNLABELLED) & (guessed == label))
        surest = rows[np.argsort(-sure[rows], kind="stable")]
        kept.append(surest[: int(np.ceil(share * len(rows)))])
    rows = np.sort(np.concatenate(kept))
    return PseudoLabels(rows, guessed[rows].astype(np.int64), sure[rows])


def balanced(
    labels: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Places of `count` of the `labels` [M], every class that occurs as often (to one).

    Within a class each is as likely, and may be drawn again.
    """
    classes = generator.permutation(np.unique(labels))
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], classes)
    sizes = np.searchsorted(labels[order], classes, side="right") - first
    turn = np.arange(count) % len(classes)
    inside = (generator.random(count) * sizes[turn]).astype(np.intp)
    chosen: NDArray[np.intp] = order[first[turn] + inside]
    return chosen


@dataclass(frozen=True)
class PoolBatch:
    """Pool pictures of an epoch, in the order of its batches, on the CPU.

    pixels: uint8 [B, C, S, S]; labels: int64 [B]; weights: float32 [B], above 0, at most 1.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor

    def take(self, rows: slice) -> "PoolBatch":
        """Some of them."""
        return PoolBatch(self.pixels[rows], self.labels[rows], self.weights[rows])


@dataclass(frozen=True)
class PseudoLabelPool:
    """The pictures of one draw that have pseudo-labels.

    pixels: gives uint8 [B, C, S, S] of rows among the training pictures and those of --unlabelled.
    unlabelled: how many of these are not in the support; agreement: share of the pseudo-labels of
        training pictures that agree with the class folders, per cent, None if there are none. It
        is reported and used for nothing.
    """

    pixels: Callable[[NDArray[np.intp]], NDArray[np.uint8]]
    guesses: PseudoLabels
    unlabelled: int
    agreement: float | None

    def describe(self) -> str:
        """A few words for the log."""
        agreement = ""
        if self.agreement is not None:
            agreement = f", {self.agreement:.1f}% right (by folder names, which are not used)"
        return (
            f"semi-supervised: pseudo-labels for {len(self.guesses.rows)} of {self.unlabelled} "
            f"unlabelled training pictures{agreement}"
        )

    def drawn(self, count: int, draw: int, epoch: int, config: FinetuneConfig) -> PoolBatch:
        """The `count` pictures of an epoch, the same in every process."""
        generator = np.random.default_rng(seed_for(config.seed, "pool", draw, epoch))
        places = balanced(self.guesses.labels, count, generator)
        pixels = torch.from_numpy(self.pixels(self.guesses.rows[places]))
        if config.augment and count:
            pixels = augmented_views(pixels, seed_for(config.seed, "augment pool", draw), epoch)
        labels, weights = self.guesses.labels[places], self.guesses.weights[places]
        return PoolBatch(pixels, torch.from_numpy(labels), torch.from_numpy(weights).float())


class PseudoLabelSource:
    """Makes the pool of each draw.

    features: float32 [N, D] of the training pictures and, below, those of --unlabelled.
    """

    def __init__(
        self,
        task: Task,
        features: NDArray[np.float32],
        config: FinetuneConfig,
        accelerator: Accelerator,
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self._features = features
        unknown = np.full(len(features) - len(task.train_labels), UNLABELLED)
        self._truth = np.concatenate([task.train_labels.numpy(), unknown])

    def pool(self, draw: int) -> PseudoLabelPool:
        """That of `draw`, counted from 1; raises UserError when all pictures are labelled."""
        truth, support = self._truth, self.task.support_rows[draw - 1]
        unlabelled = len(truth) - len(support)
        if unlabelled < 1:
            raise UserError(
                f"--pseudo-labels: draw {draw} has labels for all training pictures; leave it out, "
                "lower --shot, or give more pictures by --unlabelled"
            )
        guesses = None
        if self.accelerator.is_main_process:  # others could differ in the last digit
            guesses = guess(self._features, truth, support, self.config.unlabelled_share)
        guesses = broadcast_object_list([guesses])[0]
        named = truth[guesses.rows] != UNLABELLED
        correct = (guesses.labels == truth[guesses.rows])[named]
        agreement = 100 * float(correct.mean()) if len(correct) else None
        return PseudoLabelPool(self._pixels, guesses, unlabelled, agreement)

    def _pixels(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Uint8 [B, C, S, S]; gray pictures become colour beside coloured ones."""
        train, pool = self.task.loaded.train.pixels, self.task.pool
        if pool is None:
            return train[rows]
        more = pool.pictures.pixels
        shape = (max(train.shape[1], more.shape[1]), *train.shape[2:])
        pixels = np.empty((len(rows), *shape), np.uint8)
        extra = rows >= len(train)
        pixels[~extra] = train[rows[~extra]]
        pixels[extra] = more[pool.rows[rows[extra] - len(train)]]
        return pixels


def pseudo_label_source(
    task: Task,
    config: FinetuneConfig,
    extractor: FeatureExtractor,
    advance: Callable[[int], None],
) -> PseudoLabelSource:
    """With features of the backbone before training, computed once for all draws."""
    features = extractor.features(task.loaded.train, advance).numpy()
    if task.pool is not None:
        extra = extractor.features(task.pool.pictures, advance).numpy()
        features = np.concatenate([features, extra[task.pool.rows]])
    return PseudoLabelSource(task, features, config, extractor.accelerator)


def beside(labelled: int, share: float) -> int:
    """How many pool pictures a batch needs so that `labelled` ones are `share` of it."""
    return round(labelled * (1 / share - 1))
