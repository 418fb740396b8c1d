import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

from cvgssl.runtime.progress import progress

WORK = """
    import time
    from cvgssl.runtime import progress
    progress.PLAIN_EVERY = 0.2
    with progress.progress("decoding", 40) as advance:
        for _ in range(20):
            advance(2)
            print("an epoch's line", flush=True)
            time.sleep(0.05)
"""


def test_plain_lines_with_rate_and_time_left_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(WORK)], check=True)
    out, err = capfd.readouterr()
    assert out == "an epoch's line\n" * 20  # a command's output can be piped on
    lines = err.splitlines()
    assert 2 <= len(lines) <= 5
    line = re.fullmatch(r"decoding: (\d+) of 40, (\d+\.\d)/s, (\d+) s left", lines[0])
    assert line, lines[0]
    assert 2 <= int(line[1]) < 40
    assert 10 < float(line[2]) < 80  # 40 a second, less on a busy machine
    assert int(line[3]) <= 2
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
    piped, _ = child.communicate(timeout=20)
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
