"""Where a command may write: checked before any work is done, and what helps when it fails later.

Disks fill up and rights change while a job works, so the check spares time and proves nothing.
"""

import errno
import json
import os
from pathlib import Path

from cvgssl.runtime.errors import UserError

_ANOTHER = "name another place"
_REMEDIES = {
    errno.ENOSPC: "free space there, or name another place",
    errno.EDQUOT: "your share of the disk is used up: free some of it, or name another place",
    errno.EFBIG: "a limit forbids larger files: raise it (ulimit -f), or name another place",
    errno.EACCES: "this user may not; change the rights, or name another place",
    errno.EPERM: "this user may not; change the rights, or name another place",
    errno.EROFS: "nothing can be written on this disk; name another place",
    errno.ENAMETOOLONG: "name a shorter one",
    errno.ENOTDIR: "a part of the path is a file; correct it",
    errno.EISDIR: "a folder is there; name a file",
    errno.EEXIST: "name another place",
    errno.EBUSY: "another program uses it; end that, or name another place",
}
# of files that commands write; who gives one to a new folder expects a file
_OF_FILES = (
    ".csv",
    ".html",
    ".json",
    ".jsonl",
    ".npz",
    ".onnx",
    ".parquet",
    ".png",
    ".safetensors",
)
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_place(path: Path, flag: str, folder: bool | None = False) -> None:
    """Raise UserError when no file (or folder, or for None either) can be written at `path`.

    flag: what the message begins with, such as --out. What is there already is not judged, except
    for its kind. Links are followed; pipes and devices are places for files.
    """
    where = f"{flag} {path}"
    if str(path).startswith("~"):  # from a file of options, or after = on the command line
        raise UserError(f"{where}: nobody expands ~ here; write the path in full, or ./~")
    try:
        real = path.resolve()
        if real.is_symlink():
            raise UserError(f"{where}: is a circle of links; {_ANOTHER}")
        there = next(place for place in (real, *real.parents) if place.exists())
        is_folder = there.is_dir()
    except RuntimeError:  # how resolve says it before Python 3.13
        raise UserError(f"{where}: is a circle of links; {_ANOTHER}") from None
    except ValueError as error:  # a NUL character
        raise UserError(f"{where}: is no path ({error})") from error
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}; {remedy(error) or _ANOTHER}") from error
    if there != real and not is_folder:
        raise UserError(f"{where}: {there} is a file, not a folder; {_ANOTHER}")
    if folder and there != real and path.suffix in _OF_FILES:
        raise UserError(f"{where}: a folder is made here; name it without {path.suffix}")
    if there == real and folder is not None and is_folder != folder and (folder or is_folder):
        wrong = "is a file; name a folder" if folder else "is a folder; name a file"
        raise UserError(f"{where}: {wrong}")
    if there == real and not is_folder:
        if not there.is_file():
            return
        there = there.parent  # files are replaced, not written to
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{where}: this user cannot write in {there}; {_ANOTHER}")


def size_text(size: int) -> str:
    """A number of bytes as 17 KiB or 2.5 GiB."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.{power - 1}f} {unit}"
    return f"{size} bytes"


def remedy(error: OSError) -> str:
    """What to do about a failure of reading or writing; "" where nothing can be advised.

    Of a lack of space also how the job goes on afterwards.
    """
    advice = _REMEDIES.get(error.errno or 0, "")
    if error.errno not in _SPACE:
        return advice
    if again := _continuation(Path(str(error.filename or ""))):
        return f"{advice.removesuffix(f', or {_ANOTHER}')}, then go on with: {again}"
    return f"{advice}; then give the command again"


def _continuation(path: Path) -> str:
    """The command that goes on with the interrupted run which wrote `path`, or ""."""
    for folder in (path, *path.parents)[:3]:  # a run's files are at most one folder deep
        try:
            record = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
            return f"cvgssl {record['started_by']} --resume {folder}"
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""
