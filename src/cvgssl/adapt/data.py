"""The pictures of an adaptation job: data set, draws, unlabelled pictures beside them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.draws import Draws, draw, load_draws, load_labels
from cvgssl.images.dataset import Dataset, Pictures, without_copies
from cvgssl.images.decoding import left_out
from cvgssl.images.geometry import Geometry
from cvgssl.images.listing import list_pictures
from cvgssl.images.scan import load_dataset
from cvgssl.images.store import LoadedDataset, load_dataset_pictures, load_pictures
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress


@dataclass(frozen=True)
class UnlabelledPictures:
    """Decoded pictures without labels.

    rows: int [P], those of `pictures` that may be used: each content once, none that is in the
        data set. A test picture never influences anything, and training pictures are there already.
    """

    pictures: Pictures
    rows: NDArray[np.intp]

    def describe(self) -> str:
        """A few words for the log."""
        left_out = len(self.pictures) - len(self.rows)
        return f"{len(self.rows)} more without labels ({left_out} copies left out)"


def load_extra_unlabelled(
    folder: Path, dataset: LoadedDataset, config: AdaptConfig, accelerator: Accelerator
) -> UnlabelledPictures:
    """Decode all pictures below `folder`, as those of the data set were.

    Raises UserError when there are none, or none that the data set does not hold.
    """
    paths = list_pictures(folder)
    if not paths:
        raise UserError(f"--unlabelled {folder}: no pictures")
    first = accelerator.is_main_process
    with accelerator.local_main_process_first(), progress("decoding", len(paths), first) as advance:
        pictures, _ = load_pictures(
            paths,
            config.geometry,
            config,
            progress=advance,
        )
    known = (*dataset.train.digests, *dataset.test.digests)
    rows, _ = without_copies(pictures.digests, known)
    if not len(rows):
        raise UserError(f"--unlabelled {folder}: holds only pictures that the data set has already")
    return UnlabelledPictures(pictures, rows)


@dataclass(frozen=True)
class Task:
    """What is learned from what.

    loaded: the decoded pictures, uint8 [N, C, S, S], of both splits, and their tables.
    train_labels, test_labels: int64 [N] on the CPU.
    support_rows: rows of the training pictures in each draw's support.
    pool: further pictures, without labels, if they are to be used.
    """

    loaded: LoadedDataset
    geometry: Geometry
    draws: Draws
    train_labels: Tensor
    test_labels: Tensor
    support_rows: tuple[NDArray[np.intp], ...]
    pool: UnlabelledPictures | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of labels and logits."""
        return self.loaded.dataset.train.classes

    def describe(self) -> str:
        """One line for the log."""
        skipped = left_out(len(self.loaded.skipped))
        sizes = sorted({len(rows) for rows in self.support_rows})
        labelled = " or ".join(map(str, sizes))
        more = f"{self.pool.describe()}, " if self.pool is not None else ""
        return (
            f"data: {self.loaded.dataset.root}: {len(self.classes)} classes, {labelled} labelled "
            f"of {len(self.train_labels)} training pictures, {more}{len(self.test_labels)} test "
            f"pictures{', ' if skipped else ''}{skipped}"
        )

    def fingerprint(self) -> str:
        """SHA-256 over labels, picture files and draws: equal for the same experiment only."""
        digest = hashlib.sha256(repr((self.classes, self.draws.supports)).encode())
        for labels, pictures in (
            (self.train_labels, self.loaded.train),
            (self.test_labels, self.loaded.test),
        ):
            digest.update(labels.numpy().data)
            digest.update(pictures.digest.encode())
        if self.pool is not None:
            digest.update(self.pool.pictures.digest.encode())
        return digest.hexdigest()


def load_task(config: AdaptConfig, accelerator: Accelerator) -> Task:
    """Find, draw and decode; raises UserError for whatever does not fit, cheap checks first."""
    dataset = load_dataset(config.data, test_fraction=config.test_fraction, seed=config.seed)
    _check_classes(dataset, config)
    draws = _draws(dataset, config)
    total = len(dataset.train) + len(dataset.test)
    first = accelerator.is_main_process
    # the first process fills the cache that the others on its machine then find
    with accelerator.local_main_process_first(), progress("decoding", total, first) as advance:
        loaded = load_dataset_pictures(
            dataset,
            config.geometry,
            config,
            late=not isinstance(config, FinetuneConfig),  # its features may be in the cache
            progress=advance,
        )
    if loaded.skipped:
        draws = _draws(loaded.dataset, config)
    train, test = loaded.dataset.train, loaded.dataset.test
    support_rows = tuple(
        draws.rows(number, train, dataset.root) for number in range(len(draws.supports))
    )
    pool = None
    if isinstance(config, FinetuneConfig) and config.unlabelled is not None:
        pool = load_extra_unlabelled(config.unlabelled, loaded, config, accelerator)
    return Task(
        loaded,
        config.geometry,
        draws,
        torch.from_numpy(train.labels),
        torch.from_numpy(test.labels),
        support_rows,
        pool,
    )


def _draws(dataset: Dataset, config: AdaptConfig) -> Draws:
    if config.draws is not None:
        return load_draws(config.draws, dataset.train.classes).named(dataset.train, dataset.root)
    if config.labels is not None:
        return load_labels(config.labels, dataset.train.classes).named(dataset.train, dataset.root)
    return draw(dataset, config.shot, config.num_draws, config.seed, config.imbalance)


def _check_classes(dataset: Dataset, config: AdaptConfig) -> None:
    count = len(dataset.train.classes)
    if config.class_num not in (None, count):
        raise UserError(
            f"--class-num {config.class_num}: {config.data} has {count} classes: "
            f"{', '.join(dataset.train.classes)}"
        )
