"""Embeddings kept on disk by what the picture files hold, so each is computed once.

One folder per record (see `record.py`), in it one sealed .npy file per block of pictures (see
`runtime/array_files.py`), with the fields `digest` uint8 [32], the SHA-256 of the file's bytes,
`brightest` int32 (see `images.decoding.Square`; -1 for none) and `values` float32 [D]. A file
appears whole or not at all, so an interrupted job goes on where it was, and a damaged one is
computed again. Pictures are found by content: added, renamed or moved to another data set they
keep their embedding, and an edited one is computed again.

Where nothing can be written, all works without a cache, with a warning.

Shape letters: N pictures asked for, n pictures of a block, D numbers of an embedding.
"""

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.runtime.array_files import allocate, open_array, remove_stale, write_array
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import machine_trouble

BLOCK = 256  # pictures per file
Rows = NDArray[np.intp]
Values = NDArray[np.float32]

log = logging.getLogger(__name__)


class FeatureStore:
    """The blocks of one record; `digests` are SHA-256 in hexadecimal digits."""

    def __init__(self, folder: Path, width: int) -> None:
        """Read what is in `folder`; width: D. Raises MachineError, as all methods do."""
        self.folder = folder
        self._layout = np.dtype(
            [("digest", np.uint8, 32), ("brightest", "<i4"), ("values", "<f4", (width,))]
        )
        self._blocks: list[Path | NDArray[Any]] = []  # in memory where the disk cannot take it
        self._numbers: dict[str, int] = {}  # name of a block to its place in the list
        self._places: dict[str, tuple[int, int]] = {}  # digest to block and row
        self._brightest: dict[str, int] = {}
        self._writable = True
        remove_stale(folder)
        for path in sorted(folder.glob("[!.]*.npy")):
            block = self._open(path)
            if block is not None:
                self._note(path, path.stem, block)

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def add(
        self, digests: Sequence[str], values: Values, brightest: Sequence[int | None] = ()
    ) -> None:
        """Keep the embeddings [n, D] of pictures with these digests, and their brightest samples.

        In memory, with a warning, when the folder cannot be written.
        """
        block = np.zeros(len(digests), self._layout)
        block["digest"] = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
        block["brightest"] = [-1 if value is None else value for value in brightest or (-1,)]
        block["values"] = values
        name = _name_of(digests)
        path = self.folder / f"{name}.npy"
        self._note(path if self._written(path, block) else block, name, block)

    def block(self, digests: Sequence[str]) -> Values | None:
        """The embeddings [n, D] of exactly these pictures as `add` was given them, if it was."""
        number = self._numbers.get(_name_of(digests))
        if number is None:
            return None
        values: Values = self._read(number)["values"]
        return values

    def gather(self, digests: Sequence[str]) -> Values:
        """The embeddings [N, D] of pictures that are all here, memory-mapped.

        Raises UserError when a block was removed or damaged since the store was made.
        """
        places = [self._places[digest] for digest in digests]
        blocks = np.array([block for block, _ in places])
        inside = np.array([row for _, row in places])
        gathered = scratch(self.folder, len(places), self._layout["values"].shape[0])
        order = np.argsort(blocks, kind="stable")
        starts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
        for wanted in np.split(order, starts[1:]) if len(places) else ():
            gathered[wanted] = self._read(blocks[wanted[0]])["values"][inside[wanted]]
        return gathered

    def brightest(self, digests: Sequence[str]) -> int | None:
        """The brightest sample of these pictures, among those for which it is recorded."""
        return max(
            (self._brightest[digest] for digest in digests if digest in self._brightest),
            default=None,
        )

    def _written(self, path: Path, block: NDArray[Any]) -> bool:
        """Whether the disk took the block; the first that it does not take is a warning."""
        if self._writable:
            try:
                write_array(path, block)
            except OSError as error:
                self._writable = False
                log.warning(
                    "%s: the cache cannot be written (%s); embeddings are not kept. Set "
                    "CVGSSL_CACHE to a folder with space",
                    self.folder,
                    error.strerror or error,
                )
        return self._writable

    def _note(self, kept: Path | NDArray[Any], name: str, block: NDArray[Any]) -> None:
        for row, (digest, brightest) in enumerate(
            zip(block["digest"], block["brightest"].tolist(), strict=True)
        ):
            self._places[digest.tobytes().hex()] = (len(self._blocks), row)
            if brightest >= 0:
                self._brightest[digest.tobytes().hex()] = brightest
        self._numbers[name] = len(self._blocks)
        self._blocks.append(kept)

    def _read(self, number: int) -> NDArray[Any]:
        kept = self._blocks[number]
        if not isinstance(kept, Path):
            return kept
        block = self._open(kept)
        if block is None:
            raise UserError(f"{kept}: was removed or damaged meanwhile; run the command again")
        return block

    def _open(self, path: Path) -> NDArray[Any] | None:
        """A block's rows, memory-mapped; None when it is gone, or damaged and therefore removed."""
        try:
            block = open_array(path, self._layout, (-1,))
        except OSError as error:
            if trouble := machine_trouble(error):
                raise MachineError(f"{path}: {trouble}") from error
            log.warning("%s: cannot be read (%s); computed again", path, error.strerror)
            return None
        if block is None and path.exists():
            log.warning("%s: is damaged; its embeddings are computed again", path)
            with suppress(OSError):
                path.unlink()
        return block


def scratch(folder: Path, rows: int, width: int) -> Values:
    """Float32 [rows, width] in a file of `folder` that goes when the array does.

    In memory when the folder cannot be written.
    """
    size = 4 * rows * width
    if not size:
        return np.empty((rows, width), np.float32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".gathered-", dir=folder, delete=False) as file:
            path = Path(file.name)
            try:
                allocate(file, size)
                array = np.memmap(path, np.float32, "r+", shape=(rows, width))
            finally:
                with suppress(OSError):  # Windows keeps the file while it is open
                    path.unlink()
    except OSError:
        return np.empty((rows, width), np.float32)
    return array.view(np.ndarray)


def _name_of(digests: Sequence[str]) -> str:
    return hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()[:40]
