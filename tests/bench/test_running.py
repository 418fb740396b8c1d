"""The processes that compute cells end with the command, however it ends."""

import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

WORK = """
    import os, sys, time
    from pathlib import Path
    from cvgssl.bench import running
    from cvgssl.cli.main import guarded

    def forever(job, _out):
        if job == "killed":
            os.kill(os.getpid(), 9)
        os.write(1, b"%d\\n" % os.getpid())  # in a single write
        time.sleep(3600)

    def command(words, _prog):
        for _ in running.run_all(words, Path(), 2):
            pass
        return 0

    running._compute_and_write = forever  # goes to the processes by value
    sys.exit(guarded(command, sys.argv[1:], "prog"))
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_all_processes_end_with_the_command(sign: signal.Signals, python: str) -> None:
    child = subprocess.Popen(
        [python, "-c", textwrap.dedent(WORK), "first", "second"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    workers = [int(child.stdout.readline()) for _ in range(2)]
    child.send_signal(sign)
    _, errors = child.communicate()  # ends only when nobody holds the pipes
    assert child.returncode == 128 + sign
    assert errors.startswith("prog: interrupted")
    assert errors.count("\n") == 1
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_killed_process_is_told(python: str) -> None:
    done = subprocess.run(
        [python, "-c", textwrap.dedent(WORK), "killed", "second"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("prog: --jobs: a process was killed")
    assert done.stderr.count("\n") == 1
