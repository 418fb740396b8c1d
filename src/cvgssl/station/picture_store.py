"""The pictures that a station was asked about: each once, by the hash of its bytes, the newest.

A file appears whole, but is not forced to the disk, which would take longer than recognizing it.
What a power cut damages is found by its hash and counts as not kept.
"""

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cvgssl.runtime.parsing import one_line
from cvgssl.station.lines import write_line

FOLDER = "pictures"
_FULL, _LEFT = 0.95, 0.9  # of the size: when the oldest go, and what stays
_OLD = 3600  # seconds after which a half-written file is nobody's
_HEX = frozenset("0123456789abcdef")
_ASIDE = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{8}")  # what a half-written file is called


class PictureStore:
    """Files below `folder`/pictures; for any number of threads.

    Parameters
    ----------
    folder : Path
        Of the station.
    most_bytes : int
        What all files together may take; 0 keeps none. The pictures that were asked about longest
        ago go first.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder / FOLDER, most_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._trouble = ""
        self._ending = False
        self._wake = threading.Event()
        self._wake.set()  # the first look counts what is there
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
        self._thread.start()

    def keep(self, data: bytes, sha256: str) -> bool:
        """Whether a picture is kept now; a disk that takes no more is told to the log."""
        if not self._most:
            return False
        path = self._place(sha256)
        try:
            if self._is_there(path, len(data)):
                return True
            aside = path.with_name(f".{sha256[:16]}.{secrets.token_hex(4)}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                aside.write_bytes(data)
                aside.replace(path)
            finally:
                with suppress(OSError):
                    aside.unlink(missing_ok=True)
        except OSError as error:
            self._tell(one_line(f"{self._folder}: {error.strerror or error}"))
            return False
        self._tell("")
        with self._lock:
            self._bytes += len(data)
            if self._bytes > _FULL * self._most:
                self._wake.set()
        return True

    def read(self, sha256: str) -> bytes | None:
        """The bytes of a picture; None where it is not kept any more, or damaged."""
        try:
            data = self._place(sha256).read_bytes()
        except (OSError, LookupError):
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def path(self, sha256: str) -> Path | None:
        """Where a picture is, if it is kept."""
        with suppress(LookupError):
            path = self._place(sha256)
            return path if path.is_file() else None
        return None

    def close(self) -> None:
        """End the thread that makes room."""
        self._ending = True
        self._wake.set()
        self._thread.join()

    def _place(self, sha256: str) -> Path:
        """Raises LookupError for what is no hash, so that no other path is ever made of it."""
        if not _is_hash(sha256):
            raise LookupError(one_line(sha256))
        return self._folder / sha256[:2] / sha256

    def _is_there(self, path: Path, size: int) -> bool:
        """Whether the picture is kept, which then counts as new."""
        try:
            there = path.stat().st_size == size
            if there:
                os.utime(path)
        except FileNotFoundError:
            return False
        return there

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._ending:
                return
            try:
                self._make_room()
            except OSError as error:
                self._tell(one_line(f"{self._folder}: {error.strerror or error}"))

    def _make_room(self) -> None:
        """Count what is there; where that is too much, remove the oldest."""
        with self._lock:
            before = self._bytes
        files = list(self._files())
        total = sum(size for _, size, _ in files)
        if total > _FULL * self._most:
            for _, size, path in sorted(files):
                if total <= _LEFT * self._most or self._ending:
                    break
                with suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108 - there may be a million
                total -= size
        with self._lock:  # what came meanwhile may count twice, never not at all
            self._bytes = total + self._bytes - before

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Time, size and path of each picture; removes what kills have left half-written.

        Files that have no name of this store are somebody else's, and are left alone.
        """
        old = time.time() - _OLD
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            with suppress(NotADirectoryError), os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if _is_hash(entry.name) and entry.name[:2] == folder.name:
                        yield facts.st_mtime, facts.st_size, entry.path
                    elif facts.st_mtime < old and _ASIDE.fullmatch(entry.name):
                        Path(entry.path).unlink(missing_ok=True)

    def _tell(self, trouble: str) -> None:
        """Write a trouble to the log once, not for each picture."""
        if trouble and trouble != self._trouble:
            write_line(level="error", message=f"pictures are not kept: {trouble}")
        self._trouble = trouble


def _is_hash(name: str) -> bool:
    return len(name) == 64 and _HEX.issuperset(name)
