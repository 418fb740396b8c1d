"""The view bank: the teachers' embeddings of a fixed number of views of each picture.

A teacher that embeds new views in every epoch costs more arithmetic than the student. For a bank,
`versions` views of each kind are drawn and embedded once, and the student is trained on the same
views (stored augmentations: Faghri et al. 2023, dataset reinforcement; Wu et al. 2022, TinyViT).

On disk a bank is one folder per cache key (teacher, recipes of the views, versions, precision),
named by its hash, with one file per block of pictures, named by the hash of their contents:
float16 [pictures, versions * roles, D]. A file appears whole or not at all, so an interrupted
build continues with the next block, and pictures added at the end leave earlier blocks valid. A
block carries a checksum; a damaged one is computed again.

Any number of processes, also of other runs and machines, fill one folder together: each takes a
block that is missing and that nobody else works on, and waits for the last ones. Machines without a
shared folder each fill their own.

Shape letters: B pictures of a batch, V roles (the weak view and each strong one), D a teacher's
width.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.programs import TORCH
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.views import DrawnViews, Views
from cvgssl.runtime.array_files import open_array, remove_stale, write_array
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import claimed
from cvgssl.runtime.parsing import machine_trouble
from cvgssl.runtime.places import size_text
from cvgssl.runtime.progress import Advance, progress

log = logging.getLogger(__name__)
FORMAT = 1
BLOCK = 256  # pictures per file
LOOK_EVERY = 0.2  # seconds between looks at blocks that other processes work on
Block = NDArray[np.float16]  # [pictures, versions * roles, D]


@dataclass(frozen=True)
class BankKey:
    """The cache key of one teacher's embeddings: all that they depend on besides the pictures."""

    teacher: FrozenEncoder
    views: Views
    versions: int
    precision: str = "fp32"

    @property
    def columns(self) -> int:
        """Embeddings per picture."""
        return self.versions * self.views.roles

    def folder(self, place: Path) -> Path:
        """The folder of this teacher's blocks below `place`."""
        facts = {
            "format": FORMAT,
            "teacher": self.teacher.identity(),
            "views": self.views.identity(),
            "versions": self.versions,
            "precision": self.precision,
        }
        if self.teacher.run.program != TORCH:
            facts["runtime"] = self.teacher.run.program
        text = json.dumps(facts, sort_keys=True)
        return place / f"bank-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


@dataclass(frozen=True)
class BankBuild:
    """The work of building a bank.

    keys: one per teacher, with the same views and versions. place: folder of all banks.
    batch: pictures per pass. check: called after each pass; may raise to interrupt the build.
    """

    keys: Sequence[BankKey]
    data: PretrainPictures
    place: Path
    batch: int
    accelerator: Accelerator
    check: Callable[[], None] = lambda: None

    def open_block(self, start: int) -> list[Block | None]:
        """Each teacher's block that begins at row `start`; None where it is missing or damaged."""
        pictures = min(BLOCK, len(self.data) - start)
        return [
            open_array(path, np.float16, (pictures, key.columns, key.teacher.dim))
            for key, path in zip(self.keys, self.block_files(start), strict=True)
        ]

    def holds_damage(self, start: int, block: Sequence[Block | None]) -> bool:
        """Whether a block that could not be opened is there."""
        files = zip(self.block_files(start), block, strict=True)
        return any(path.exists() for path, values in files if values is None)

    def views_of(self, start: int) -> int:
        """How many views of pictures the block that begins at row `start` has."""
        return min(BLOCK, len(self.data) - start) * self.keys[0].columns

    def block_files(self, start: int) -> list[Path]:
        """The file of each teacher for the block of pictures that begins at row `start`."""
        digests = self.data.pictures.digests[start : start + BLOCK]
        name = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:40]
        return [key.folder(self.place) / f"{name}.npy" for key in self.keys]


class Bank:
    """Stored embeddings of T teachers; `build_bank` makes one.

    blocks: by teacher and block of pictures, float16 [pictures, versions * roles, D].
    """

    def __init__(self, blocks: Sequence[Sequence[Block]]) -> None:
        self._blocks = blocks

    def embeddings(self, teacher: int, rows: Tensor, columns: Tensor) -> Tensor:
        """Float32 [B, V, D] for pictures `rows` [B] and stored views `columns` [B, V]."""
        blocks = self._blocks[teacher]
        stored = [
            blocks[row // BLOCK][row % BLOCK, own_columns]
            for row, own_columns in zip(rows.tolist(), columns.numpy(), strict=True)
        ]
        return torch.from_numpy(np.stack(stored)).float()

    def mean(self, teacher: int) -> Tensor:
        """Float32 [N, D]: the mean of all stored views of each picture."""
        means = [block.mean(axis=1, dtype=np.float32) for block in self._blocks[teacher]]
        return torch.from_numpy(np.concatenate(means))


def bank_size(keys: Sequence[BankKey], pictures: int) -> int:
    """Bytes on disk of the embeddings of this number of pictures."""
    return sum(2 * pictures * key.columns * key.teacher.dim for key in keys)


def build_bank(build: BankBuild) -> Bank:
    """Compute the blocks that are missing or damaged, together with other processes; open all.

    Raises UserError when the disk has no room, or when an embedding exceeds the range of float16.
    """
    accelerator, place = build.accelerator, build.place
    starts = range(0, len(build.data), BLOCK)
    with _naming_the_remedy(place):
        if accelerator.is_local_main_process:
            for key in build.keys:
                remove_stale(key.folder(place))
        blocks = [build.open_block(start) for start in starts]
        missing = [number for number, block in enumerate(blocks) if any(x is None for x in block)]
        if missing:
            _check_room(build, len(missing) * BLOCK)
    damaged = sum(build.holds_damage(starts[number], blocks[number]) for number in missing)
    if damaged and accelerator.is_main_process:
        log.warning("%s: damaged blocks of a bank, computed again: %d", place, damaged)
    begin = len(missing) * accelerator.process_index // accelerator.num_processes
    missing = missing[begin:] + missing[:begin]  # processes meet late
    total = sum(map(build.views_of, (starts[number] for number in missing)))
    with progress("bank views", total, accelerator.is_main_process) as advance:
        while missing:
            left = []
            for number in missing:
                blocks[number] = _block(build, starts[number], advance)
                if any(x is None for x in blocks[number]):
                    left.append(number)
            if left == missing:
                advance(0, f"{len(left)} blocks in the hands of other processes")
                build.check()
                time.sleep(LOOK_EVERY)
            missing = left
    return Bank(list(zip(*map(_opened, blocks), strict=True)))


def _block(build: BankBuild, start: int, advance: Advance) -> list[Block | None]:
    """The block that begins at `start`: computed if nobody else does; None where it is awaited."""
    files = build.block_files(start)
    with ExitStack() as stack:
        with _naming_the_remedy(build.place):
            for path in files:
                path.parent.mkdir(parents=True, exist_ok=True)
            free = stack.enter_context(claimed(files[0]))
            block = build.open_block(start)
        if all(values is not None for values in block):
            advance(build.views_of(start))
        elif free:
            _build_block(build, start, block, advance)
            with _naming_the_remedy(build.place):
                block = build.open_block(start)
            if any(values is None for values in block):
                raise UserError(
                    f"{build.place}: a block cannot be read after it was written; check the disk"
                )
    return block


def _build_block(
    build: BankBuild, start: int, block: Sequence[Block | None], advance: Advance
) -> None:
    """All views of one block of pictures, by the teachers whose file is missing."""
    missing = [
        (key, path)
        for key, path, stored in zip(build.keys, build.block_files(start), block, strict=True)
        if stored is None
    ]
    teachers = [key.teacher for key, _ in missing]
    data, views, versions = build.data, build.keys[0].views, build.keys[0].versions
    stop = min(start + BLOCK, len(data))
    arrays = [
        np.empty((stop - start, key.columns, key.teacher.dim), np.float16) for key, _ in missing
    ]
    for first in range(start, stop, build.batch):
        rows = torch.arange(first, min(first + build.batch, stop))
        pixels = views.stored(data, rows, build.accelerator.device)
        place = slice(first - start, first - start + len(rows))
        for version in range(versions):
            build.check()
            columns = version * views.roles + torch.arange(views.roles)
            drawn = DrawnViews(rows, data.keys[rows], columns.expand(len(rows), -1), pixels)
            with build.accelerator.autocast():
                embeddings = views.embed(teachers, drawn)
            for (key, path), values, embedding in zip(missing, arrays, embeddings, strict=True):
                values[place, columns.numpy()] = _as_float16(embedding, key, path)
            advance(len(rows) * views.roles)
    with _naming_the_remedy(build.place):
        for (_, path), values in zip(missing, arrays, strict=True):
            write_array(path, values)


def _as_float16(embedding: Tensor, key: BankKey, path: Path) -> NDArray[np.float16]:
    """Embeddings [V, B, D] as [B, V, D] of the file."""
    values = embedding.cpu()
    if not bool((values.abs() <= torch.finfo(torch.float16).max).all()):
        raise UserError(
            f"--teacher {key.teacher.name}: gives numbers that {path.name} cannot hold; use "
            "--bank off, or --precision fp32"
        )
    return values.transpose(0, 1).numpy().astype(np.float16)


def _opened(blocks: Sequence[Block | None]) -> list[Block]:
    return [block for block in blocks if block is not None]


@contextmanager
def _naming_the_remedy(place: Path) -> Iterator[None]:
    """Turn a failure to read or write banks into a UserError."""
    try:
        yield
    except OSError as error:
        if machine_trouble(error):
            raise
        raise UserError(
            f"{place}: banks cannot be kept there ({error.strerror}); name another folder with "
            "--bank-dir, or set CVGSSL_CACHE"
        ) from error


def _check_room(build: BankBuild, pictures: int) -> None:
    place = build.place
    place.mkdir(parents=True, exist_ok=True)
    needed, free = bank_size(build.keys, pictures), shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"--bank {build.keys[0].versions}: needs {size_text(needed)}, {place} has "
            f"{size_text(free)} free; lower it, or name another place with --bank-dir"
        )
