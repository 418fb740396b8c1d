"""Locks that keep two processes from writing into one folder or file.

A lock is the system's (`flock`), on a hidden file beside what is written: it goes with the process
that holds it, however that ends. The file says who that is. Where the file system has no locks, as
on some network shares, a warning is all there is.
"""

import errno
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import companion
from cvgssl.runtime.parsing import one_line
from cvgssl.runtime.places import check_place

try:
    import fcntl
except ImportError:  # Windows, which does not remove or replace files that are open
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
NAME = ".lock"
_HELD = (errno.EAGAIN, errno.EACCES)


class _HeldError(Exception):
    """Another process has the lock; the message says who."""


class _NoLocksError(Exception):
    """The file system has no locks; the message says why."""


class Lock:
    """The lock on `path`, a folder or a file; raises UserError when another process has it.

    flag: what the message begins with, such as --out.
    """

    def __init__(self, path: Path, flag: str) -> None:
        self.path = path / NAME if path.is_dir() else companion(path, ".", NAME)
        self._file: int | None = None
        try:
            self._file = _locked(self.path)
        except _HeldError as held:
            raise UserError(
                f"{flag} {path}: is in use by {held}; wait until it ends, or stop it"
            ) from None
        except _NoLocksError as error:
            log.warning(
                "%s: this file system has no locks (%s); let no other process write there",
                path, error,
            )  # fmt: skip
        if self._file is not None:
            _introduce(self._file)

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._file is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def moved(self, folder: Path) -> None:
        """Note that the locked folder has another name now."""
        self.path = folder / NAME


@contextmanager
def locked_folder(path: Path, flag: str) -> Iterator[None]:
    """Hold the lock on a folder inside the block; it is made, and removed if it stays empty."""
    check_place(path, flag, folder=True)
    path = path.resolve()  # a link to a folder that is still to be made
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    lock = Lock(path, flag)
    try:
        yield
    finally:
        lock.release()
        if made:
            with suppress(OSError):
                path.rmdir()


@contextmanager
def locked_file(path: Path, flag: str) -> Iterator[None]:
    """Hold the lock on a file that is to be written; a pipe or a device needs none."""
    check_place(path, flag)
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path, flag)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether inside the block no other process works on the file `path`.

    For work that may be done twice without harm: it is True also where there are no locks.
    """
    place, file, free = companion(path, ".", NAME), None, True
    try:
        file = _locked(place)
    except _HeldError:
        free = False
    except _NoLocksError:
        pass
    try:
        yield free
    finally:
        if file is not None:
            with suppress(OSError):
                place.unlink(missing_ok=True)
            os.close(file)


def _locked(path: Path) -> int | None:
    """An open and locked file, or None on systems without locks; raises the errors above."""
    while fcntl is not None:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(file)
            os.close(file)
            if error.errno in _HELD:
                raise _HeldError(holder) from None
            raise _NoLocksError(error.strerror) from None
        if _is_still(path, file):
            return file
        os.close(file)  # whoever had it removed it meanwhile
    return None


def _is_still(path: Path, file: int) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _introduce(file: int) -> None:
    words = {"process": os.getpid(), "machine": platform.node(), "since": time.strftime("%F %T")}
    with suppress(OSError):  # a full disk is no reason; the lock is held
        os.truncate(file, 0)
        os.pwrite(file, json.dumps(words).encode(), 0)


def _holder(file: int) -> str:
    """Text that says who wrote the file of a lock."""
    try:
        words = json.loads(os.pread(file, 1000, 0))
        text = f"process {words['process']} on {words['machine']} since {words['since']}"
        return one_line(text)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
