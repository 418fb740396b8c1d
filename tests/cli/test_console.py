"""Commands write to whatever their standard output is, and end when they are told to."""

import os
import pty
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cvgssl.cli.console import complain

GUARDED = """
import signal, sys
from pathlib import Path
from cvgssl.cli.main import guarded
from cvgssl.runtime.errors import UserError
def command(words, prog):
{body}
    return 0
sys.exit(guarded(command, sys.argv[1:], "prog"))
"""


def program(body: str) -> list[str]:
    """A command that does `body`."""
    text = textwrap.indent(textwrap.dedent(body), "    ")
    return [sys.executable, "-c", GUARDED.format(body=text)]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_cannot_hold_is_escaped(encoding: str) -> None:
    done = subprocess.run(
        program('print("裂纹 ± \\udcff"); print("裂纹", file=sys.stderr)'),
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0
    expected = {
        "ascii": r"\u88c2\u7eb9 \xb1 \xff",
        "cp1252": r"\u88c2\u7eb9 ± \xff",
        "utf-8": r"裂纹 ± \xff",
    }
    assert done.stdout.decode(encoding) == expected[encoding] + "\n"
    assert done.stderr.decode(encoding) == expected[encoding].split()[0] + "\n"


@pytest.mark.parametrize("lines", [1, 20_000])  # less and more than the buffers hold
def test_a_reader_that_has_gone_ends_a_command_quietly(lines: int) -> None:
    child = subprocess.Popen(
        program(f"sys.stdin.read(); print('line\\n' * {lines})"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    child.stdout.close()
    child.stdin.close()
    assert child.stderr.read() == b""
    assert child.wait() == 141


def test_a_reader_of_a_table_that_has_gone_is_no_finding() -> None:
    body = """
        from cvgssl.report.terminal import print_table
        print_table("title", ["class"], [["a"]])
    """
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(program(textwrap.dedent(body)), stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_broken_pipe_is_an_error() -> None:
    done = subprocess.run(
        program("raise BrokenPipeError(32, 'Broken pipe')"), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, "prog: Broken pipe\n")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_lead_to_nowhere(closed: str, tmp_path: Path) -> None:
    body = f"""
        other = open({str(tmp_path / "other")!r}, "w")  # gets no number of a closed stream
        print("out"); print("err", file=sys.stderr); sys.stdin.read()
        other.close()
        Path({str(tmp_path / "done")!r}).write_text("done")
        sys.stdout.isatty(), sys.stderr.isatty()
        raise UserError("wrong")
    """
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', *program(body)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ("" if "1>" in closed else "out\n")
    assert done.stderr == ("" if "2>" in closed else "err\nprog: wrong\n")
    assert (tmp_path / "done").read_text() == "done"
    assert (tmp_path / "other").read_text() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_line(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program("print('out')"),
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (2, "prog: standard output: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_help_that_cannot_be_written_is_one_line(python: str) -> None:
    words = [python, "-m", "cvgssl", "fit", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "cvgssl fit: standard output: No space left on device\n"


@pytest.mark.parametrize("taker", ["full", "gone"])
def test_notes_that_nobody_takes_stop_no_work(taker: str, tmp_path: Path) -> None:
    if taker == "full":
        stream = os.open("/dev/full", os.O_WRONLY)
    else:
        read, stream = os.pipe()
        os.close(read)
    body = f"""
        print("note", file=sys.stderr, flush=True)
        print("note\\n" * 20_000, file=sys.stderr)
        Path({str(tmp_path / "done")!r}).write_text("done")
        print("out")
    """
    done = subprocess.run(program(body), stdout=subprocess.PIPE, stderr=stream, text=True)
    os.close(stream)
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert (tmp_path / "done").read_text() == "done"


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    body = r"""
        import logging
        import warnings
        logging.getLogger("x").warning("%s: left out", "a\x1b[2Jb\udcff")
        warnings.warn_explicit("e\x1bf", UserWarning, "file.py", 1)
        raise UserError("c\x1b]0;d\x07: wrong\nsecond")
    """
    done = subprocess.run(program(body), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        r"a\x1b[2Jb\xff: left out",
        r"file.py:1: UserWarning: e\x1bf",
        r"prog: c\x1b]0;d\x07: wrong",
        "prog: second",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written(number: signal.Signals, tmp_path: Path) -> None:
    body = f"""
        from cvgssl.runtime.files import new_folder, writing
        place = Path({str(tmp_path)!r})
        with new_folder(place / "folder", "--out") as folder, writing(place / "file") as aside:
            (folder / "half").write_text("half")
            print("ready", flush=True)
            signal.pause()
    """
    child = subprocess.Popen(
        program(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert len(list(tmp_path.iterdir())) == 2
    child.send_signal(number)
    _, errors = child.communicate()
    assert child.returncode == 128 + number
    assert errors == f"prog: interrupted by {number.name}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_nohup_ignores_stays_ignored() -> None:
    body = "import os; os.kill(os.getpid(), signal.SIGHUP); print('still here')"
    done = subprocess.run(
        program(body),
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "still here\n")


def test_work_goes_on_to_its_end_when_the_terminal_has_gone(tmp_path: Path) -> None:
    """What a training job does: it saves after SIGHUP, though every print would fail."""
    body = f"""
        from cvgssl.runtime.stopping import stop_requests
        with stop_requests() as stopping:
            print("ready", flush=True)
            while not stopping():
                signal.pause()
        print("saved", flush=True)
        print("saved", file=sys.stderr, flush=True)
        Path({str(tmp_path / "saved")!r}).write_text("saved")
    """
    pid, terminal = pty.fork()
    if pid == 0:
        words = program(body)
        os.execv(words[0], words)
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 100)
    os.close(terminal)  # the system sends SIGHUP to whom it belonged
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (tmp_path / "saved").read_text() == "saved"


def test_a_line_of_a_message_keeps_its_ends(capsys: pytest.CaptureFixture[str]) -> None:
    complain("cvgssl", f"--out {'x' * 10**6}: no such folder")
    err = capsys.readouterr().err
    assert len(err) < 2000
    assert err.startswith("cvgssl: --out xx") and err.endswith("xx: no such folder\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always UTF-8")
@pytest.mark.parametrize(("mode", "lines"), [("0", 1), ("1", 0)])
def test_a_python_that_reads_names_as_ascii_says_so(mode: str, lines: int) -> None:
    done = subprocess.run(
        program("from cvgssl.runtime.parsing import name_remedy; print(name_remedy('it'))"),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONUTF8": mode, "LC_ALL": "C"},
    )
    assert done.returncode == 0
    assert done.stdout.startswith("set PYTHONUTF8=1" if lines else "rename it")
    told = "prog: file names are read as ascii here; set PYTHONUTF8=1 for other letters\n"
    assert done.stderr == told * lines
