"""Everything that is told while a station runs is lines of JSON."""

import json
import logging
import sys
import threading
import warnings

import pytest

from cvgssl.station.lines import only_lines, write_line


def test_whatever_is_told_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a fault")

    before = (sys.stderr, threading.excepthook, warnings.showwarning)
    with only_lines():
        write_line(message="asked")
        print("two\n\nlines", file=sys.stderr)
        logging.getLogger("cvgssl.station.pool_rows").warning("cannot be %s", "written")
        logging.getLogger("uvicorn.error").warning("no HTTP")
        warnings.warn("does not converge", stacklevel=1)
        thread = threading.Thread(target=fail, name="places")
        thread.start()
        thread.join()
    assert before == (sys.stderr, threading.excepthook, warnings.showwarning)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(each.get("level"), each["message"]) for each in lines]
    assert told[:5] == [
        (None, "asked"),
        ("info", "two"),
        ("info", "lines"),
        ("warning", "cannot be written"),
        ("warning", "no HTTP"),
    ]
    assert "UserWarning: does not converge" in told[5][1]
    assert told[6][0] == "error" and "thread places has ended" in told[6][1]
    assert "ZeroDivisionError" in lines[6]["traceback"] and len(lines) == 7
