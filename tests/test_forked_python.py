"""The `python` of the tests behaves as Python where they count on it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def run(python: str, *words: str, **options: Any) -> tuple[int, str, str]:
    done = subprocess.run([python, *words], capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "import sys; print(sys.argv, sys.stdin.read(), __name__); sys.exit(3)",
        "import sys; sys.exit('a message')",
        "import os; print(os.getcwd(), os.environ['MARK'], 'HOME' in os.environ)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import signal; print([signal.getsignal(s) for s in (2, 10, 13, 15, 17)])",
        "import atexit; atexit.register(print, 'last'); print('first')",
        "import threading; threading.Timer(0.01, print, ['of a thread']).start()",
        "import os; os.write(1, b'unread '); print('in order', flush=True); os._exit(300 & 255)",
        "import torch; print(torch.get_num_threads(), torch.initial_seed() > 0)",
        "import numpy as np; print(np.random.default_rng(1).random())",
    ],
)
def test_what_a_program_does_and_says(python: str, code: str, tmp_path: Path) -> None:
    options = {"cwd": tmp_path, "input": "typed", "env": {"MARK": "ä", "OMP_NUM_THREADS": "1"}}
    options["env"] |= {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    real = run(sys.executable, "-c", code, "a", "-b", **options)
    assert run(python, "-c", code, "a", "-b", **options) == real


def test_chance_is_each_calls_own(python: str) -> None:
    code = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1))"
    first, second = (run(python, "-c", code)[1].split() for _ in range(2))
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_errors_end_with_a_traceback_and_1(python: str) -> None:
    code, out, said = run(python, "-c", "raise ValueError('wrong')")
    assert (code, out) == (1, "") and said.endswith("ValueError: wrong\n")
    assert run(python, "-c", "raise KeyboardInterrupt")[0] == -signal.SIGINT


def test_modules_and_files(python: str, tmp_path: Path) -> None:
    text = "import sys, beside\nprint(__name__, beside.WORD, sys.argv[1:])\n"
    (tmp_path / "program.py").write_text(text)
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    told = (0, "__main__ found ['x']\n", "")
    assert run(python, str(tmp_path / "program.py"), "x") == told
    assert run(python, "-m", "program", "x", cwd=tmp_path) == told
    assert run(python, "--version") == run(sys.executable, "--version")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_the_work(python: str, number: int) -> None:
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        work = int(process.stdout.readline())
        assert work != process.pid
        process.send_signal(number)
        assert process.stdout.read() == "", "it is open until the work has ended"
    assert process.returncode == -number
