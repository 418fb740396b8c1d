"""Which pictures are embedded, and what is known of each: DATA to names, labels and splits."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.config import EmbedConfig
from cvgssl.features.table import SPLITS, UNLABELLED
from cvgssl.images.dataset import names_below, picture_names
from cvgssl.images.layout import check_split_words
from cvgssl.images.listing import list_pictures, subfolders
from cvgssl.images.scan import has_own_split, load_dataset
from cvgssl.runtime.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """N picture files; the other fields are those of `FeatureTable`."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[str, ...]
    classes: tuple[str, ...]

    def take(self, rows: NDArray[np.intp]) -> "Listing":
        """The pictures in these rows."""
        return Listing(
            tuple(self.paths[row] for row in rows),
            tuple(self.names[row] for row in rows),
            self.labels[rows],
            tuple(self.splits[row] for row in rows),
            self.classes,
        )

    @property
    def digest(self) -> str:
        """Short hash of all names, labels and splits, in order."""
        digest = hashlib.sha256("\n".join(self.classes).encode("utf-8", "surrogateescape"))
        for name, label, split in zip(self.names, self.labels, self.splits, strict=True):
            digest.update(f"{name}\0{label}\0{split}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:24]


def list_for_embedding(config: EmbedConfig) -> Listing:
    """The pictures of `config.data`, train before test.

    Labelled ones as `load_dataset` finds them. A folder that has pictures but no folders in it,
    and any folder with `class_folders` false, is without labels (-1): then pictures below test/ are
    of the split test, all others train.
    Raises UserError for what is missing, empty or listed twice.
    """
    if not config.class_folders or _is_plain(config.data):
        return _unlabelled(config.data)
    dataset = load_dataset(config.data, test_fraction=config.test_fraction, seed=config.seed)
    if not has_own_split(config.data):
        log.warning(
            "%s: no test/; %d of its pictures, drawn by --seed %d, are called test",
            config.data,
            len(dataset.test),
            config.seed,
        )
    names = [
        name for part in (dataset.train, dataset.test) for name in picture_names(part, dataset.root)
    ]
    return Listing(
        dataset.train.paths + dataset.test.paths,
        tuple(names),
        np.concatenate([dataset.train.labels, dataset.test.labels]),
        (SPLITS[0],) * len(dataset.train) + (SPLITS[1],) * len(dataset.test),
        dataset.train.classes,
    )


def _is_plain(data: Path) -> bool:
    """Whether `data` is a folder that can hold loose pictures only."""
    return data.is_dir() and not subfolders(data)


def _unlabelled(data: Path) -> Listing:
    if not data.is_dir():
        raise UserError(f"{data}: --class-folders false needs a folder of pictures")
    check_split_words(data)
    paths = list_pictures(data)
    if not paths:
        raise UserError(f"{data}: no pictures")
    pairs = list(zip(names_below(paths, data), paths, strict=True))
    pairs.sort(key=lambda pair: _split(pair[0]) == SPLITS[1])  # stable: train comes first
    names = tuple(name for name, _ in pairs)
    return Listing(
        tuple(path for _, path in pairs),
        names,
        np.full(len(pairs), UNLABELLED, np.int64),
        tuple(map(_split, names)),
        (),
    )


def _split(name: str) -> str:
    top, slash, _ = name.partition("/")
    return SPLITS[1] if slash and top.lower() == SPLITS[1] else SPLITS[0]
