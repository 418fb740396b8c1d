import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

from cvgssl.runtime import progress as module
from cvgssl.runtime.progress import progress

# two of forty, an epoch's line, and then a wait until the bar was drawn once more
WORK = """
    import time
    from rich.live import Live
    from cvgssl.runtime.progress import progress
    drawn, draw = 0, Live.refresh
    def counted(live):
        global drawn
        draw(live)
        drawn += 1
    Live.refresh = counted
    with progress("decoding", 40) as advance:
        for number in range(20):
            advance(2)
            print("an epoch's line", flush=True)
            while drawn < min(number, 5):
                time.sleep(0.01)
"""


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_plain_lines_with_rate_and_time_left_in_a_log(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with progress("decoding", 40) as advance:
        for _ in range(20):
            clock.now += 2.5
            advance(2)
            print("an epoch's line", flush=True)
    out, err = capfd.readouterr()
    assert out == "an epoch's line\n" * 20  # a command's output can be piped on
    lines = err.splitlines()
    assert len(lines) == 5, "one in ten seconds"
    assert lines[0] == "decoding: 8 of 40, 0.8/s, 40 s left"
    assert lines[-1] == "decoding: 40 of 40, 0.8/s, 0 s left"
    assert "\x1b" not in err


def test_a_bar_on_a_terminal() -> None:
    main, terminal = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORK)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environ,
        text=True,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    piped, _ = child.communicate()
    assert child.returncode == 0
    assert piped == "an epoch's line\n" * 20, "the bar must leave piped output alone"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "━" in text
    assert re.search(r"decoding .* \d+/40 +[\d.]+/s", text)
    assert re.search(r"\d:\d\d:\d\d", text)  # time left
    assert shown.count(b"\x1b[2K") > 2  # redrawn in place


@pytest.mark.parametrize(("total", "shown"), [(10, False), (0, True)])
def test_nothing_is_shown_when_there_is_nothing_to_show(
    total: int, shown: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with progress("features", total, shown) as advance:
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_short_work_prints_nothing_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("features", 3) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")
