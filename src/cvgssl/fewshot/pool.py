"""Unlabelled pictures as a training run sees them: drawn anew for every epoch, classes in turn.

M pictures of the pool are used, B of them in an epoch; C channels, S side in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.features.table import UNLABELLED
from cvgssl.fewshot.config import FinetuneConfig
from cvgssl.fewshot.data import Task
from cvgssl.fewshot.frozen_features import frozen_features
from cvgssl.fewshot.models import ModelSource
from cvgssl.fewshot.pseudo_labels import PseudoLabels, balanced, guess
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.seeds import seed_for
from cvgssl.views.support import support_views


@dataclass(frozen=True)
class Drawn:
    """Pool pictures of an epoch, in the order of its batches, on the CPU.

    pixels: uint8 [B, C, S, S]; labels: int64 [B]; weights: float32 [B], above 0, at most 1.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor

    def take(self, rows: slice) -> "Drawn":
        """Some of them."""
        return Drawn(self.pixels[rows], self.labels[rows], self.weights[rows])


@dataclass(frozen=True)
class Pool:
    """The pictures of one run that pseudo-labels were found for.

    pixels: gives uint8 [B, C, S, S] of rows among the training pictures and those of --unlabelled.
    unlabelled: how many of these are not in the support; right: share of the pseudo-labels of
        training pictures that agree with the class folders, per cent, None if there are none. It
        is reported and used for nothing.
    """

    pixels: Callable[[NDArray[np.intp]], NDArray[np.uint8]]
    guesses: PseudoLabels
    unlabelled: int
    right: float | None

    def describe(self) -> str:
        """A few words for the log."""
        right = ""
        if self.right is not None:
            right = f", {self.right:.1f}% right (by folder names, which are not used)"
        return (
            f"semi-supervised: pseudo-labels for {len(self.guesses.rows)} of {self.unlabelled} "
            f"unlabelled training pictures{right}"
        )

    def drawn(self, count: int, run: int, epoch: int, config: FinetuneConfig) -> Drawn:
        """The `count` pictures of an epoch, the same in every process."""
        generator = np.random.default_rng(seed_for(config.seed, "pool", run, epoch))
        places = balanced(self.guesses.labels, count, generator)
        pixels = torch.from_numpy(self.pixels(self.guesses.rows[places]))
        if config.augment and count:
            pixels = support_views(pixels, seed_for(config.seed, "augment pool", run), epoch)
        labels, weights = self.guesses.labels[places], self.guesses.weights[places]
        return Drawn(pixels, torch.from_numpy(labels), torch.from_numpy(weights).float())


class PoolSource:
    """Makes the pool of each run; the features behind it are computed once for all runs."""

    def __init__(
        self, task: Task, source: ModelSource, config: FinetuneConfig, accelerator: Accelerator
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self._features = frozen_features(task.loaded.train, source, config, accelerator)
        self._truth = task.train_labels.numpy()
        if task.pool is not None:
            rows = task.pool.rows
            more = frozen_features(task.pool.pictures, source, config, accelerator)
            if accelerator.is_main_process:
                self._features = np.concatenate([self._features, more[rows]])
            self._truth = np.concatenate([self._truth, np.full(len(rows), UNLABELLED)])

    def pool(self, run: int) -> Pool:
        """That of `run`, counted from 1; raises UserError when all pictures are labelled."""
        truth, support = self._truth, self.task.supports[run - 1]
        unlabelled = len(truth) - len(support)
        if unlabelled < 1:
            raise UserError(
                f"--pseudo-labels: run {run} has labels for all training pictures; leave it out, "
                "lower --shot, or give more pictures by --unlabelled"
            )
        guesses = None
        if self.accelerator.is_main_process:  # others could differ in the last digit
            guesses = guess(self._features, truth, support, self.config.unlabelled_share)
        guesses = broadcast_object_list([guesses])[0]
        named = truth[guesses.rows] != UNLABELLED
        agree = (guesses.labels == truth[guesses.rows])[named]
        right = 100 * float(agree.mean()) if len(agree) else None
        return Pool(self._pixels, guesses, unlabelled, right)

    def _pixels(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Uint8 [B, C, S, S]; gray pictures become colour beside coloured ones."""
        train, pool = self.task.loaded.train.pixels, self.task.pool
        if pool is None:
            return train[rows]
        more = pool.pictures.pixels
        shape = (max(train.shape[1], more.shape[1]), *train.shape[2:])
        found = np.empty((len(rows), *shape), np.uint8)
        extra = rows >= len(train)
        found[~extra] = train[rows[~extra]]
        found[extra] = more[pool.rows[rows[extra] - len(train)]]
        return found


def beside(labelled: int, share: float) -> int:
    """How many pool pictures stand in a batch so that `labelled` ones are `share` of it."""
    return round(labelled * (1 / share - 1))
