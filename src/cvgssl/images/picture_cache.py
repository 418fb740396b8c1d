"""Decoded pictures kept on disk between runs, named by what the picture files hold.

A cache file is `PLAN-CONTENT.npy`: PLAN is for which files are decoded how, CONTENT for the
SHA-256 of their bytes. An edited picture changes CONTENT, so its old pixels are never used, and
the outdated file of the same PLAN is removed when the new one is complete. Beside it is a JSON
of what else decoding reported. Both have a checksum; a damaged file is made again. Of pictures that
stay in memory there is the JSON only.
"""

import hashlib
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from cvgssl.images.geometry import Geometry
from cvgssl.images.reader import VERSION
from cvgssl.runtime.array_files import open_array
from cvgssl.runtime.errors import MachineError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.parsing import machine_trouble

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodingNotes:
    """What decoding reported beside the pixels.

    unreadable: row in the list of files -> reason.
    brightest: brightest sample of the 16-bit files, if there are any.
    """

    unreadable: dict[int, str]
    brightest: int | None


@dataclass(frozen=True)
class CacheEntry:
    """The place in `folder` of these files' decoded pictures, squares of `side` pixels."""

    folder: Path
    plan: str
    side: int

    @classmethod
    def of(
        cls, folder: Path, paths: Sequence[Path], geometry: Geometry, max_megapixels: int
    ) -> "CacheEntry":
        """The entry for these files, resized so, by this version of the reader.

        max_megapixels: decides which files are unreadable.
        """
        names = [str(path.absolute()) for path in paths]
        settings = [VERSION, PIL.__version__, asdict(geometry), max_megapixels, names]
        return cls(folder, _digest(json.dumps(settings))[:24], geometry.size)

    def candidates(self) -> list[Path]:
        """Complete cache files of these paths, whatever the files held at the time."""
        return sorted(self.folder.glob(f"{self.plan}-*.npy"))

    def has_notes(self) -> bool:
        """Whether there are any of these paths, whatever the files held at the time."""
        return any(self.folder.glob(f"{self.plan}-*.json"))

    def path(self, digests: Sequence[str]) -> Path:
        """The cache file for files with these content hashes."""
        return self.folder / f"{self.plan}-{_digest(' '.join(digests))[:40]}.npy"

    def load(self, digests: Sequence[str]) -> tuple[NDArray[np.uint8], DecodingNotes] | None:
        """Memory-mapped pixels [N, C, S, S] and the notes kept with them, if they are there.

        None, with a warning, for a damaged file. Raises MachineError for trouble of the machine.
        """
        path = self.path(digests)
        try:
            if not path.exists():
                return None
            notes = self.notes(digests)
            if notes is not None:
                count = len(digests) - len(notes.unreadable)
                pixels = open_array(path, np.uint8, (count, -1, self.side, self.side))
                if pixels is not None:
                    return pixels, notes
            reason = "is damaged"
        except OSError as error:
            if trouble := machine_trouble(error):
                raise MachineError(f"{path}: {trouble}") from error
            reason = f"cannot be read ({error.strerror})"
        log.warning("%s: %s; the pictures are decoded again", path, reason)
        return None

    def note(self, digests: Sequence[str], notes: DecodingNotes) -> None:
        """Keep notes beside the pixels; to be written before them."""
        reasons = {str(row): reason for row, reason in notes.unreadable.items()}
        values = {"unreadable": reasons, "brightest": notes.brightest}
        write_json(self._json(digests), {"notes": values, "checksum": _checksum(values)})

    def notes(self, digests: Sequence[str]) -> DecodingNotes | None:
        """What `note` kept; None when it is missing or damaged."""
        try:
            held = json.loads(self._json(digests).read_text(encoding="utf-8"))
            if held["checksum"] != _checksum(held["notes"]):
                return None
            unreadable = {int(row): str(why) for row, why in held["notes"]["unreadable"].items()}
            return DecodingNotes(unreadable, held["notes"]["brightest"])
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def _json(self, digests: Sequence[str]) -> Path:
        return self.path(digests).with_suffix(".json")

    def drop_outdated(self, digests: Sequence[str]) -> None:
        """Remove the cache files of the same plan whose picture files have changed since."""
        for path in self.folder.glob(f"{self.plan}-*"):
            if path.stem != self.path(digests).stem:
                path.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _checksum(notes: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())
