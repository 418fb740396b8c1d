"""Standard output and error of a command: in any encoding, closed, or left by their reader."""

import codecs
import io
import logging
import os
import select
import sys
import warnings
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

from cvgssl.runtime.parsing import printable, shortened

_FORMAT_WARNING = warnings.formatwarning
_LONGEST = 1900  # characters of a line of a message
_ESCAPES = "cvgssl-escapes"  # how what cannot be encoded is written
READER_GONE = 141  # as of a program that SIGPIPE ends


class _Printable(logging.Formatter):
    """Names of files and classes may hold control characters, which a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy(record)
        if isinstance(record.args, tuple):  # a line break in a path is none of the message
            record.args = tuple(
                printable(str(word)) if isinstance(word, Path) else word for word in record.args
            )
        return _lines(super().format(record))


class _Notes(io.TextIOWrapper):
    """Standard error: notes that nobody can take (a full disk, a reader gone) stop no work."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def prepare_streams() -> None:
    r"""Let standard output and error take any text.

    What their encoding cannot hold, and bytes of names that are no UTF-8, are written as escapes
    such as \xb1; closed streams lead to nowhere.
    """
    codecs.register_error(_ESCAPES, _escaped)
    if type(sys.stderr) is io.TextIOWrapper:  # neither ours already nor that of a test
        notes = open(sys.stderr.fileno(), "wb", closefd=False)  # noqa: SIM115
        sys.stderr = _Notes(notes, sys.stderr.encoding, line_buffering=True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Printable())
    warnings.formatwarning = _format_warning


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """As backslashreplace, but a byte of a name as itself, which Python holds as \\udcNN."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (printable(c) if c >= "\ud800" else c for c in text)
    return "".join(plain).encode("ascii", "backslashreplace").decode("ascii"), error.end


def complain(prog: str, text: str) -> None:
    """Print each line of `text` to standard error."""
    for line in text.split("\n"):
        print(f"{prog}: {shortened(printable(line), _LONGEST)}", file=sys.stderr, flush=True)


def reader_is_gone() -> bool:
    """Whether whoever read standard output through a pipe (`| head`) has ended."""
    if not hasattr(select, "poll"):
        return True  # Windows, where only the failed write shows it
    poll = select.poll()
    poll.register(1, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def output_is_refused() -> bool:
    """Whether standard output cannot take another line, after what could not be printed."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def discard_unwritten() -> None:
    """Drop what standard output cannot take, which Python would complain about at the end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _format_warning(*words: Any, **options: Any) -> str:
    return _lines(_FORMAT_WARNING(*words, **options))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
