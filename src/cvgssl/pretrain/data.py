"""The unlabelled pictures of a run: listed, decoded once, and keyed by their content."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.images.dataset import Pictures
from cvgssl.images.decoding import left_out
from cvgssl.images.layout import layout_of
from cvgssl.images.listing import list_pictures
from cvgssl.images.splits import read_split
from cvgssl.images.store import load_pictures
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainPictures:
    """N decoded pictures of a pre-training run.

    root: what the user named. keys: int64 [N], non-negative, from each file's content. They seed
        the views of a picture, which therefore do not change when files are added or renamed.
    folders: for each picture the name of its folder directly below the pictures' root, "" for
        none; class names, if the folder has classes. Only monitors read them.
    test_left_out: whether the data itself names test pictures, which are left out.
    """

    root: Path
    pictures: Pictures
    keys: Tensor
    folders: tuple[str, ...]
    test_left_out: bool

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Uint8 [N, C, S, S]."""
        return self.pictures.pixels

    def describe(self) -> str:
        """One line for the log: the pictures, and which setting a later evaluation is in."""
        count = f"data: {self.root}: {len(self)} pictures without their labels"
        if self.test_left_out:
            return f"{count}; its test pictures are not used"
        return (
            f"{count}; the folder names no test pictures, so all are used: accuracy on any of "
            "them later counts as transductive (`cvgssl data split` makes a split)"
        )


def load_pretrain_pictures(config: PretrainConfig, accelerator: Accelerator) -> PretrainPictures:
    """List and decode the pictures of `config.data`.

    Raises UserError for a missing folder, unreadable pictures (without --skip-corrupt) and fewer
    pictures than a batch.
    """
    root, paths, test_left_out = _training_pictures(config.data)
    if len(paths) < config.batch_size:
        raise UserError(
            f"--batch-size {config.batch_size}: {root} has {len(paths)} pictures; a step needs a "
            "full batch of different ones"
        )
    shown = accelerator.is_main_process
    with (
        accelerator.local_main_process_first(),
        progress("decoding", len(paths), shown) as advance,
    ):
        pictures, unreadable = load_pictures(
            paths,
            config.geometry,
            config,
            progress=advance,
        )
    if unreadable:
        log.warning("%s: %s", root, left_out(len(unreadable)))
    kept = [path for row, path in enumerate(paths) if row not in unreadable]
    if len(kept) < config.batch_size:
        raise UserError(f"--batch-size {config.batch_size}: only {len(kept)} pictures are readable")
    keys = [int(digest[:16], 16) >> 1 for digest in pictures.digests]
    return PretrainPictures(
        config.data,
        pictures,
        torch.tensor(keys, dtype=torch.int64),
        tuple(_folder(path, root) for path in kept),
        test_left_out,
    )


def _training_pictures(data: Path) -> tuple[Path, list[Path], bool]:
    """Their folder, their paths, and whether the data names others for testing."""
    if data.is_file():
        return data.parent, list(read_split(data).train.paths), True
    if not data.is_dir():
        raise UserError(f"{data}: no such folder or CSV file")
    splits = layout_of(data).halves
    if "test" in splits and "train" not in splits:
        raise UserError(f"{data}: has test/ but no train/; name the folder of training pictures")
    root = splits.get("train", data)
    paths = list_pictures(root)
    if not paths:
        raise UserError(f"{root}: no pictures")
    return root, paths, "test" in splits


def _folder(path: Path, root: Path) -> str:
    """The name of the folder directly below `root`; of a file elsewhere that of its parent."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-2:]
    return parts[0] if len(parts) > 1 else ""
