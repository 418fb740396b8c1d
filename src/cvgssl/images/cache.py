"""Decoded pictures kept on disk between runs, named by what the picture files hold.

A cache file is `PLAN-CONTENT.npy`: PLAN stands for which files are decoded how, CONTENT for the
SHA-256 of their bytes. An edited picture changes CONTENT, so its old pixels are never found, and
the outdated file of the same PLAN is removed when the new one is complete. Beside it lies a JSON
of what else the decoding found.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import VERSION
from cvgssl.runtime.cache_folder import default_cache_dir as default_cache_dir
from cvgssl.runtime.files import read_json, write_json


@dataclass(frozen=True)
class CacheEntry:
    """The place in `folder` of these files' decoded pictures."""

    folder: Path
    plan: str

    @classmethod
    def of(cls, folder: Path, paths: Sequence[Path], geometry: Geometry) -> "CacheEntry":
        """The entry for these files, resized so, by this version of the reader."""
        how = [VERSION, PIL.__version__, asdict(geometry), [str(path.absolute()) for path in paths]]
        return cls(folder, _digest(json.dumps(how))[:24])

    def candidates(self) -> list[Path]:
        """Complete cache files of these paths, whatever the files held at the time."""
        return sorted(self.folder.glob(f"{self.plan}-*.npy"))

    def path(self, digests: Sequence[str]) -> Path:
        """The cache file for files with these content hashes."""
        return self.folder / f"{self.plan}-{_digest(' '.join(digests))[:40]}.npy"

    def load(self, digests: Sequence[str]) -> tuple[NDArray[np.uint8], dict[str, Any]] | None:
        """Memory-mapped pixels [N, C, S, S] and the notes kept with them, if they are there."""
        path = self.path(digests)
        try:
            pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
            return pixels, read_json(path.with_suffix(".json"))
        except (OSError, ValueError):  # none there, or damaged by hand: decoded again
            return None

    def note(self, digests: Sequence[str], notes: dict[str, Any]) -> None:
        """Keep notes beside the pixels; to be written before them."""
        write_json(self.path(digests).with_suffix(".json"), notes)

    def drop_outdated(self, digests: Sequence[str]) -> None:
        """Remove the cache files of the same plan whose picture files have changed since."""
        for path in self.candidates():
            if path != self.path(digests):
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
