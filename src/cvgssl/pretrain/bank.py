"""The view bank: the teachers' embeddings of a fixed number of views of each picture.

A teacher that sees new views in every epoch costs more arithmetic than the student. A bank draws
`versions` views of each kind once, keeps the embeddings, and the student draws the very same views
again during training (stored augmentations: Faghri et al. 2023, dataset reinforcement; Wu et al.
2022, TinyViT).

On disk a bank is one folder per teacher and way of making views, named by their hash, and in it
one file per block of pictures, named by the hash of their contents: float16
[pictures, versions * roles, D]. A file appears whole or not at all, so an interrupted
construction goes on where it was, and pictures added at the end leave earlier blocks valid.

Shape letters: B pictures of a batch, V roles (the weak view and each strong one), D a teacher's
width.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from cvgssl.encoders.teacher import Teacher
from cvgssl.pretrain.data import Unlabelled
from cvgssl.pretrain.views import Views
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing
from cvgssl.runtime.progress import Advance, progress

FORMAT = 1
BLOCK = 256  # pictures per file


@dataclass(frozen=True)
class Plan:
    """Which embeddings a bank holds: everything that they depend on besides the pictures."""

    teacher: Teacher
    views: Views
    versions: int
    precision: str = "fp32"

    @property
    def columns(self) -> int:
        """Embeddings per picture."""
        return self.versions * self.views.roles

    def folder(self, place: Path) -> Path:
        """Where this teacher's blocks lie below `place`."""
        facts = {
            "format": FORMAT,
            "teacher": self.teacher.identity(),
            "views": self.views.identity(),
            "versions": self.versions,
            "precision": self.precision,
        }
        text = json.dumps(facts, sort_keys=True)
        return place / f"bank-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


class Bank:
    """Stored embeddings of T teachers; `build_bank` makes one."""

    def __init__(self, blocks: Sequence[Sequence[NDArray[np.float16]]]) -> None:
        self._blocks = blocks  # by teacher, by block of pictures

    def embeddings(self, teacher: int, rows: Tensor, columns: Tensor) -> Tensor:
        """Float32 [B, V, D] for pictures `rows` [B] and stored views `columns` [B, V]."""
        blocks, picked = self._blocks[teacher], columns.numpy()
        found = [
            blocks[row // BLOCK][row % BLOCK, picked[place]]
            for place, row in enumerate(rows.tolist())
        ]
        return torch.from_numpy(np.stack(found)).float()

    def mean(self, teacher: int) -> Tensor:
        """Float32 [N, D]: the mean of all stored views of each picture."""
        found = [block.mean(axis=1, dtype=np.float32) for block in self._blocks[teacher]]
        return torch.from_numpy(np.concatenate(found))


def bank_size(plans: Sequence[Plan], pictures: int) -> int:
    """Bytes on disk of the banks of `plans`."""
    return sum(2 * pictures * plan.columns * plan.teacher.dim for plan in plans)


def build_bank(
    plans: Sequence[Plan],
    data: Unlabelled,
    place: Path,
    batch: int,
    accelerator: Accelerator,
    check: Callable[[], None] = lambda: None,
) -> Bank:
    """Compute what is missing, shared among the processes of a machine, and open it all.

    batch: pictures per pass. check: is called after each and may raise. Raises UserError when the
    disk has no room, or when a teacher gives numbers that float16 cannot hold.
    """
    starts = range(0, len(data), BLOCK)
    files = [[_block_file(plan, data, start, place) for start in starts] for plan in plans]
    missing = [row for row in range(len(starts)) if any(_open(f[row]) is None for f in files)]
    if missing:
        _check_room(plans, len(missing) * BLOCK, place)
    # by number, not by place in the list: another process may have listed fewer by now
    rank, world = accelerator.local_process_index, _processes_here(accelerator)
    mine = [row for row in missing if row % world == rank]
    total = sum(min(BLOCK, len(data) - starts[row]) for row in mine)
    with progress("bank views", total * plans[0].columns, accelerator.is_main_process) as advance:
        for row in mine:
            wanted = [
                (plan, file[row])
                for plan, file in zip(plans, files, strict=True)
                if _open(file[row]) is None
            ]
            _build_block(wanted, data, starts[row], batch, accelerator, check, advance)
    accelerator.wait_for_everyone()
    return Bank([[_built(path) for path in teacher] for teacher in files])


def _built(path: Path) -> NDArray[np.float16]:
    block = _open(path)
    if block is None:
        raise UserError(f"{path}: cannot be read after it was written; is the disk sound?")
    return block


def _build_block(
    wanted: Sequence[tuple[Plan, Path]],
    data: Unlabelled,
    start: int,
    batch: int,
    accelerator: Accelerator,
    check: Callable[[], None],
    advance: Advance,
) -> None:
    """All views of one block of pictures, through the teachers whose file is missing."""
    views, versions = wanted[0][0].views, wanted[0][0].versions
    stop = min(start + BLOCK, len(data))
    stored = [
        np.empty((stop - start, plan.columns, plan.teacher.dim), np.float16) for plan, _ in wanted
    ]
    for first in range(start, stop, batch):
        rows = torch.arange(first, min(first + batch, stop))
        keys, pixels = data.keys[rows], views.stored(data, rows, accelerator.device)
        for version in range(versions):
            check()
            columns = version * views.roles + torch.arange(views.roles)
            numbers = columns.expand(len(rows), -1)
            with accelerator.autocast():
                seen = views.embed([plan.teacher for plan, _ in wanted], pixels, keys, numbers)
            for (plan, path), array, embedded in zip(wanted, stored, seen, strict=True):
                found = embedded.cpu()
                if not bool((found.abs() <= torch.finfo(torch.float16).max).all()):
                    raise UserError(
                        f"--teacher {plan.teacher.name}: gives numbers that {path.name} cannot "
                        "hold; use --bank off, or --precision fp32"
                    )
                place = slice(first - start, first - start + len(rows))
                array[place, columns.numpy()] = found.transpose(0, 1).numpy()
            advance(len(rows) * views.roles)
    for (_, path), array in zip(wanted, stored, strict=True):
        with writing(path) as aside, aside.open("wb") as file:
            np.save(file, array)


def _block_file(plan: Plan, data: Unlabelled, start: int, place: Path) -> Path:
    digests = data.pictures.digests[start : start + BLOCK]
    name = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:40]
    return plan.folder(place) / f"{name}.npy"


def _open(path: Path) -> NDArray[np.float16] | None:
    """The block, memory-mapped; None when it is not there or damaged."""
    try:
        block: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return block


def _check_room(plans: Sequence[Plan], pictures: int, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    needed, free = bank_size(plans, pictures), shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"--bank {plans[0].versions}: needs {needed / 2**20:.0f} MiB, {place} has "
            f"{free / 2**20:.0f} free; lower it, or name another place with --bank-dir"
        )


def _processes_here(accelerator: Accelerator) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
