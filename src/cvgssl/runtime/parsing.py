"""Opening and parsing files that people or other programs made.

Whatever a parser raises on a damaged or hostile file becomes one `UserError` that names the
file; trouble of the machine (no file handles, no memory, a broken disk) becomes `MachineError`,
which is never taken for a fault of the file.
"""

import errno
import json
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cvgssl.runtime.errors import MachineError, UserError

MAX_TEXT_BYTES = 256 * 2**20
"""Largest text file (labels, splits, settings) that is read; a million paths need about 100 MB."""

MOST_JSON_VALUES = 3_000_000
"""Values of a JSON file, which take about 300 MB; a thousand draws of a thousand pictures fit."""

_MACHINE = {
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) or use fewer workers",
    errno.ENFILE: "the system's table of open files is full; close other programs",
    errno.ENOMEM: "the machine's memory is full; close other programs or use fewer workers",
    errno.EIO: "the disk reports an error; check it",
    errno.ESTALE: "the network share went away; mount it again",
    errno.ETIMEDOUT: "the network share does not answer",
    errno.ENOTCONN: "the network share is not connected",
    errno.EHOSTDOWN: "the network share does not answer",
}


def machine_trouble(error: BaseException) -> str:
    """What is wrong with the machine and the remedy, or "" when `error` says nothing of it."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            return _MACHINE[errno.ENOMEM]
        if isinstance(cause, OSError) and cause.errno in _MACHINE:
            return _MACHINE[cause.errno]
    return ""


@contextmanager
def parsing(path: Path, what: str, remedy: str = "") -> Iterator[None]:
    """Turn every failure of parsing `path` into one line.

    what: what the file should have been, with its article ("a features file").
    remedy: what to do about it.

    Raises UserError for whatever the block raises, a UserError unchanged; MachineError when the
    machine is the cause. A MemoryError counts as the machine's: blocks that read sizes from the
    file must hold them against the file's size first.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # parsers raise almost anything on broken bytes
        if trouble := machine_trouble(error):
            raise MachineError(f"{path}: {trouble}") from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        text = f"{path} cannot be read as {what} ({one_line(reason)})"
        raise UserError(f"{text}; {remedy}" if remedy else text) from error


def check_file(path: Path, max_bytes: int | None = None) -> int:
    """The size in bytes of a regular file (or a link to one).

    Raises UserError for what is missing, a folder, a pipe, a device or larger than `max_bytes`:
    a device such as /dev/zero has no end.
    """
    with parsing(path, "a file"):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no regular file (a pipe or a device); name a file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise UserError(f"{path} has {status.st_size:,} bytes; at most {max_bytes:,} are read")
    return status.st_size


def read_limited(path: Path, what: str, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of a regular file; errors as `parsing` and `check_file` give."""
    size = check_file(path, max_bytes)
    with parsing(path, what), path.open("rb") as file:
        return file.read(size)  # not to its end: some files of /proc claim no size and have no end


def read_text(path: Path, what: str, remedy: str = "") -> str:
    """A UTF-8 text file, without byte order mark; errors as `parsing` and `check_file` give."""
    data = read_limited(path, what)
    with parsing(path, what, remedy or "save it as UTF-8 text"):
        return data.decode("utf-8-sig")


def parse_json(path: Path, what: str, remedy: str = "") -> Any:
    """A UTF-8 JSON file that may come from anywhere; errors as `parsing` and `check_file` give.

    Raises UserError also for more than `MOST_JSON_VALUES` values.
    """
    text = read_text(path, what, remedy)
    values = sum(map(text.count, ",[{"))  # or more; an empty list takes 2 bytes here, then 64
    if values > MOST_JSON_VALUES:
        raise UserError(f"{path}: has {values:,} values; at most {MOST_JSON_VALUES:,} are read")
    with parsing(path, what, remedy):
        return json.loads(text)


@contextmanager
def under_flag(flag: str) -> Iterator[None]:
    """Put the flag that named a file before what is said of it."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{flag} {error}") from error


def problem_lines(problems: Sequence[str], most: int = 20) -> str:
    """One line per problem; of a great many, the first `most` and how many more there are."""
    left = len(problems) - most
    shown = problems if left <= 0 else [*problems[:most], f"... and {left:,} more like these"]
    return "\n".join(shown)


def one_line(reason: object, length: int = 200) -> str:
    """The first line of a message, printable and at most `length` characters long.

    Parsers quote what they could not read; a megabyte of it or control characters help nobody.
    """
    text = printable(str(reason).strip().split("\n")[0]) or type(reason).__name__
    return text if len(text) <= length else text[: length - 3] + "..."


def shortened(text: str, length: int) -> str:
    """`text` without its middle where it is longer than `length`: both ends tell what it is."""
    if len(text) <= length:
        return text
    kept = length - 5
    return f"{text[: kept - kept // 3]} ... {text[len(text) - kept // 3 :]}"


def printable(text: str) -> str:
    r"""`text` with control characters and bytes that are no UTF-8 as escapes such as \x1b."""
    return text if text.isprintable() else "".join(map(_shown, text))


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`, `2 classes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def name_remedy(what: str) -> str:
    """What to do about a name that is no UTF-8: `what` of it is to be renamed."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":  # then a sound name looks broken
        return f"set PYTHONUTF8=1, for names are read as {encoding} here"
    return f"rename {what} (convmv does it for many)"


def _shown(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable() or character == "\u00a0":
        return character
    return character.encode("unicode_escape").decode()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(10):  # a chain of causes can be a circle
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
