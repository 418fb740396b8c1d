"""Embeddings kept on disk by what the picture files hold, so each is computed once.

One folder per record (see `record.py`), in it one .npz per block of pictures: `digests` uint8 [n,
32], SHA-256 of the files' bytes, and `values` float32 [n, D]. A file appears whole or not at all,
so an interrupted job goes on where it was. Pictures are found by content: added, renamed or moved
to another data set they keep their embedding, and an edited one is computed again.

Shape letters: N pictures asked for, n pictures of a block, D numbers of an embedding.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.rows import naming_the_remedy
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

BLOCK = 256  # pictures per file
Values = NDArray[np.float32]


class FeatureStore:
    """The blocks of one record; `digests` are SHA-256 in hexadecimal digits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}  # digest to file and row
        # not those that begin with a dot: another process may be writing them
        for path in sorted(folder.glob("[!.]*.npz")):
            digests = _member(path, "digests")
            if digests is not None:
                self._note(path, digests)

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def add(self, digests: Sequence[str], values: Values) -> None:
        """Keep the embeddings [n, D] of pictures with these digests; raises UserError."""
        raw = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
        path = self.folder / f"{hashlib.sha256(raw.tobytes()).hexdigest()[:40]}.npz"
        with naming_the_remedy(self.folder), writing(path) as aside, aside.open("wb") as file:
            np.savez(file, digests=raw, values=values)
        self._note(path, raw)

    def gather(self, digests: Sequence[str]) -> Values:
        """The embeddings [N, D] of pictures that are all here, memory-mapped.

        Raises UserError when a block was damaged; it is then removed, so that the next call
        computes it again.
        """
        places = [self._places[digest] for digest in digests]
        files = np.array([file for file, _ in places])
        inside = np.array([row for _, row in places])
        gathered: Values | None = None
        order = np.argsort(files, kind="stable")
        starts = np.flatnonzero(np.diff(files[order], prepend=-1))
        for wanted in np.split(order, starts[1:]):
            path = self._files[files[wanted[0]]]
            values = _member(path, "values")
            if values is None:
                path.unlink(missing_ok=True)
                raise UserError(f"{path}: was damaged and is removed; run the command again")
            if gathered is None:
                gathered = scratch(self.folder, len(places), values.shape[1])
            gathered[wanted] = values[inside[wanted]]
        assert gathered is not None, "no pictures"
        return gathered

    def _note(self, path: Path, digests: NDArray[np.uint8]) -> None:
        for row, digest in enumerate(digests):
            self._places[digest.tobytes().hex()] = (len(self._files), row)
        self._files.append(path)


def scratch(folder: Path, rows: int, width: int) -> Values:
    """Float32 [rows, width] in a file of `folder` that goes when the array does."""
    with naming_the_remedy(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".gathered-", dir=folder, delete=False) as file:
            file.truncate(max(1, 4 * rows * width))
    path = Path(file.name)
    array = np.memmap(path, np.float32, "r+", shape=(rows, width))
    with suppress(OSError):  # Windows keeps the file while it is open
        path.unlink()
    return array.view(np.ndarray)


def _member(path: Path, name: str) -> NDArray[Any] | None:
    """One array of a block; None when the file is gone or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            array: NDArray[Any] = file[name]
            return array
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
