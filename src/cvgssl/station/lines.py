"""The log of a station on standard error: a JSON object in each line."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from cvgssl.runtime.parsing import one_line


def write_line(**facts: Any) -> None:
    """Write a line, with the time before all else."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    out = sys.stderr.plain if isinstance(sys.stderr, _Notes) else sys.stderr
    print(json.dumps({"at": at, **facts}, ensure_ascii=False), file=out, flush=True)


class Lines(logging.Handler):
    """What libraries warn of, as such lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; of an exception the whole traceback."""
        facts = {"level": record.levelname.lower(), "message": one_line(record.getMessage())}
        if record.exc_info:
            facts["traceback"] = logging.Formatter().formatException(record.exc_info)
        write_line(**facts)


class _Notes(io.TextIOBase):
    """Standard error where each line that is printed becomes such a line; plain: the stream."""

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain
        self._begun = threading.local()  # of each thread a line of its own

    def write(self, text: str) -> int:
        *whole, self._begun.line = (getattr(self._begun, "line", "") + text).split("\n")
        for line in filter(str.strip, whole):
            write_line(level="info", message=one_line(line))
        return len(text)

    def fileno(self) -> int:
        return self.plain.fileno()


@contextmanager
def only_lines() -> Iterator[None]:
    """Inside the block whatever is told on standard error is such lines.

    What libraries log from warnings on, warnings of Python, errors that end a thread, and what is
    printed. Of loggers of their own, too: the web server and the reader of forms.
    """
    handler, plain, hook = Lines(logging.WARNING), sys.stderr, threading.excepthook
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "python_multipart")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    logging.captureWarnings(True)
    threading.excepthook = _report
    sys.stderr = _Notes(plain)
    try:
        yield
    finally:
        sys.stderr, threading.excepthook = plain, hook
        logging.captureWarnings(False)
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True


def _report(error: threading.ExceptHookArgs) -> None:
    if error.exc_value is not None and error.exc_type is not SystemExit:
        name = "" if error.thread is None else error.thread.name
        facts = (error.exc_type, error.exc_value, error.exc_traceback)
        write_line(
            level="error",
            message=f"thread {name} has ended: {one_line(repr(error.exc_value))}",
            traceback=logging.Formatter().formatException(facts),
        )
