"""Files and folders that appear whole or not at all, and hashes of files.

What a file system does not know (permissions, flushing, renaming, as on some network shares and
object stores) is not needed.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.places import check_place

_BESIDE = re.compile(r"\..+\.[0-9a-f]{8}(\..*)?", re.DOTALL)  # names by `_beside`
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}
"""Errors of a file system that cannot do what it is asked."""
_BUSY = {errno.EACCES, errno.EBUSY, errno.ETXTBSY}
_LONGEST_NAME = 255  # bytes, of most file systems
_WAITS = (0.05, 0.2, 0.5, 1.0)  # seconds between tries to replace a file that another one reads


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and takes its place.

    When the block raises (a full disk, an interruption), the temporary file is removed and what
    was at `path` before is untouched. Missing folders are made. A symbolic link stays and its
    target is replaced; what is not a regular file (a pipe, /dev/null) is written to directly.
    """
    with suppress(RuntimeError):  # a circle of links, which the system names below
        path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        with naming_file(path):
            yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _beside(path, path.suffix)
    # no mkstemp: its private permissions would have to be changed, which not all file systems can
    try:
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield aside
        with aside.open("rb+") as file:
            flush(file)
        replace(aside, path)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(aside):
            _name(error, path)
        raise
    finally:
        with suppress(OSError):  # the error that led here says more
            aside.unlink(missing_ok=True)


def remove_left_by_kills(folder: Path) -> None:
    """Remove temporary files of `writing` in `folder`, to which nobody else may write meanwhile."""
    for path in folder.glob(".*"):
        if _BESIDE.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


@contextmanager
def new_folder(path: Path, flag: str) -> Iterator[Path]:
    """Give a folder beside `path` that takes its place on success and is removed on failure.

    flag: what a message begins with, such as --out. Raises UserError when `path` exists and is
    not an empty folder. Errors of writing name `path`, not the folder beside it. A folder that
    cannot be replaced (it is mounted, or the one above belongs to somebody else) is filled at the
    end, in the order of names.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{flag} {path}: exists and is not an empty folder; name a new one")
    check_place(path, flag, folder=True)
    whole = path.resolve()
    aside = whole / f".{secrets.token_hex(4)}" if _is_fixed(whole) else _beside(whole)
    try:
        aside.mkdir(parents=True)
        yield aside
        if aside.parent == whole:
            for each in sorted(aside.iterdir()):
                replace(each, whole / each.name)
            aside.rmdir()
            return
        with suppress(OSError):  # the error of renaming says what is in the way
            whole.rmdir()
        replace(aside, whole)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and str(error.filename2) == str(whole):
            raise UserError(
                f"{flag} {path}: another process has made it meanwhile; name a new one"
            ) from error
        if error.filename is None and not isinstance(error, BrokenPipeError):
            _name(error, path)
        elif Path(str(error.filename)).is_relative_to(aside):
            _name(error, path / Path(str(error.filename)).relative_to(aside))
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Give an OSError without a file name, as failed writes raise it, the name `path`."""
    try:
        yield
    except BrokenPipeError:  # of a stream, whose reader has gone
        raise
    except OSError as error:
        if error.filename is None:
            _name(error, path)
        raise


def flush(file: IO[Any]) -> None:
    """Bring an open file to the disk, where the file system knows how."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise


def replace(aside: Path, path: Path) -> None:
    """Rename; waits a little for a file that is open elsewhere, which shares and Windows mind."""
    for wait in (*_WAITS, 0.0):
        try:
            aside.replace(path)
        except OSError as error:
            if error.errno in _BUSY and wait:
                time.sleep(wait)
                continue
            if error.errno not in _UNKNOWN:
                raise
            _copy(aside, path)
        return


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all.

    Bytes of file names that are no UTF-8 become JSON's own escapes, which `json` reads back.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_sealed_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with its hash, whole or not at all; what JSON lacks by its `repr`."""
    plain = json.loads(json.dumps(value, default=repr))
    write_json(path, {"value": plain, "sha256": _json_digest(plain)})


def read_sealed_json(path: Path) -> Any:
    """What `write_sealed_json` wrote; raises OSError or ValueError where it is not that."""
    sealed = read_json(path)
    if not isinstance(sealed, dict) or sealed.get("sha256") != _json_digest(sealed.get("value")):
        raise ValueError(f"{path}: damaged")
    return sealed["value"]


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with naming_file(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def companion(path: Path, before: str, after: str) -> Path:
    """The file `before` + name + `after` beside `path`; too long a name is told by its hash."""
    name = path.name
    if len(os.fsencode(before + name + after)) > _LONGEST_NAME:
        name = f"{_cut(name)}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return path.with_name(before + name + after)


def _beside(path: Path, suffix: str = "") -> Path:
    """A hidden name in the same folder that is not in use, of at most 255 bytes."""
    return path.with_name(f".{_cut(path.name)}.{secrets.token_hex(4)}{suffix[-20:]}")


def _cut(name: str) -> str:
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return name


def _is_fixed(folder: Path) -> bool:
    """Whether a folder is there that no other one can take the place of."""
    return folder.is_dir() and (
        os.path.ismount(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)
    )


def _name(error: OSError, path: Path) -> None:
    if error.errno is None:  # a library's, of words alone, which a file name would displace
        error.strerror = str(error)
    error.filename, error.filename2 = str(path), None


def _copy(aside: Path, path: Path) -> None:
    """In place of renaming, where that is unknown."""
    if not aside.is_dir():
        shutil.copyfile(aside, path)
        return
    try:
        shutil.copytree(aside, path, copy_function=shutil.copyfile)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
