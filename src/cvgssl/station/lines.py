"""The log of a station on standard error: a JSON object in each line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from cvgssl.runtime.parsing import one_line


def write_line(**facts: Any) -> None:
    """Write a line, with the time before all else."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"at": at, **facts}, ensure_ascii=False), file=sys.stderr, flush=True)


class Lines(logging.Handler):
    """What libraries warn of, as such lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; of an exception the whole traceback."""
        facts = {"level": record.levelname.lower(), "message": one_line(record.getMessage())}
        if record.exc_info:
            facts["traceback"] = logging.Formatter().formatException(record.exc_info)
        write_line(**facts)


def use_lines() -> None:
    """Send what the web server and the reader of forms warn of to the log."""
    for name in ("uvicorn", "python_multipart"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [Lines(logging.WARNING)], False
