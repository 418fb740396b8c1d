import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cvgssl import __version__
from cvgssl.cli.main import COMMANDS, guarded, main
from cvgssl.runtime.errors import UserError, of_this_process


def cvgssl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cvgssl", *words], capture_output=True, text=True)


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["data"], ["data", "--help"]])
def test_the_overview_lists_every_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    for name, (_file, text) in COMMANDS.items():
        assert f"  {name} " in out
        assert text in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frobnicate"], "'frobnicate'; see cvgssl --help"),
        (["data", "frobnicate"], "'data frobnicate'; see cvgssl --help"),
        (["frob", "--help"], "'frob'; see cvgssl --help"),
        (["predct", "x"], "'predct'; did you mean predict?"),
        (["data", "chek", "x"], "'data chek'; did you mean data check?"),
    ],
)
def test_an_unknown_command_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"cvgssl: no command named {message}\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cvgssl {__version__}\n"


def test_help_is_quick() -> None:
    """Counted in modules, of which the interpreter alone has some 80 and torch some 2,000."""
    script = "import atexit, runpy, sys; atexit.register(lambda: print(len(sys.modules))); "
    script += "sys.argv[1:] = ['--help']; runpy.run_module('cvgssl', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].startswith("usage: cvgssl COMMAND")
    assert int(told[-1]) < 150
    assert cvgssl("--help").stdout.splitlines() == told[:-1]


def test_help_of_every_command_shows_defaults_and_imports_nothing_heavy() -> None:
    script = """
        import contextlib, io, sys
        from cvgssl.cli.main import COMMANDS, main
        for name in COMMANDS:
            out = io.StringIO()
            try:
                with contextlib.redirect_stdout(out):
                    main([*name.split(), "--help"])
            except SystemExit as stopped:
                assert stopped.code == 0, name
            text = out.getvalue()
            assert text.startswith("usage: cvgssl " + name), text
            heavy = {"torch", "scipy", "timm", "matplotlib", "accelerate"} & sys.modules.keys()
            assert not heavy, (name, heavy)
            print(name, "(default: " in text, sep=":")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(":") for line in done.stdout.splitlines())
    assert set(told) == set(COMMANDS)
    assert told["finetune"] == told["linear"] == "True"


def test_a_users_mistakes_are_lines_without_a_traceback() -> None:
    done = cvgssl("finetune", "--shot", "0", "--lr", "-1", "--bogus")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("cvgssl finetune: ") for line in lines)
    for name in ("--bogus", "DATA", "--shot 0", "--lr -1"):
        assert name in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = cvgssl("finetune", "--debug", "--shot", "0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UserError" in done.stderr


def test_full_memory_of_a_gpu_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert run_guarded(error)[0] == 2
    shown = capsys.readouterr().err
    assert shown.startswith("prog: the memory of the GPU is full; lower --batch-size")
    assert shown.count("\n") == 1
    with pytest.raises(torch.OutOfMemoryError):
        run_guarded(error, ["--debug"])


def run_guarded(
    error: BaseException | None, argv: Sequence[str] = (), code: int = 0
) -> tuple[int, list[str]]:
    seen: list[str] = []

    def command(words: Sequence[str], prog: str) -> int:
        seen.extend([prog, *words])
        if error is not None:
            raise error
        return code

    return guarded(command, argv, "prog"), seen


def test_the_commands_own_exit_code_and_words() -> None:
    assert run_guarded(None, ["a", "--b"], code=1) == (1, ["prog", "a", "--b"])


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (UserError("--a: wrong\n--b: wrong"), ["prog: --a: wrong", "prog: --b: wrong"]),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x"),
            [
                "prog: runs/x: No space left on device; free space there, or name another place; "
                "then give the command again"
            ],
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ["prog: No space left on device"]),
        (OSError("cannot identify image"), ["prog: cannot identify image"]),
        (
            MemoryError(),
            ["prog: the machine's memory is full; close other programs or use fewer workers"],
        ),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.png"),
            ["prog: a.png: too many open files; raise the limit (ulimit -n) or use fewer workers"],
        ),
        (
            UnicodeEncodeError("utf-8", "train/a\udcff/1.png", 7, 8, "surrogates not allowed"),
            [
                r"prog: a file or folder name is not valid UTF-8: ...train/a\xff/1.png...; "
                "rename it (convmv does it for many)"
            ],
        ),
    ],
)
def test_mistakes_and_a_full_disk_are_one_line_each(
    error: Exception, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded(error)[0] == 2
    assert capsys.readouterr().err.splitlines() == lines
    with pytest.raises(type(error)):
        run_guarded(error, ["--debug"])


def test_trouble_with_the_cache_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")

    def command(_words: Sequence[str], _prog: str) -> int:
        (tmp_path / "file" / "features").mkdir(parents=True)
        return 0

    assert guarded(command, [], "prog") == 2
    assert capsys.readouterr().err == (
        f"prog: {tmp_path}/file/features: Not a directory; set CVGSSL_CACHE to a folder that can "
        "be written\n"
    )


def test_other_processes_of_one_job_do_not_repeat_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run_guarded(UserError("wrong"))[0] == 2
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError) as own, of_this_process():
        raise UserError("its own")
    assert run_guarded(own.value)[0] == 2
    assert "its own" in capsys.readouterr().err
    monkeypatch.setenv("LOCAL_RANK", "0")
    run_guarded(UserError("on this machine"))
    assert "on this machine" in capsys.readouterr().err


def test_a_fault_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_guarded(ZeroDivisionError())


def _full_disk(folder: Path) -> tuple[list[str], Callable[[], None]]:
    def limit() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    return ["finetune", "data", "--save-config", str(folder / "o.yaml")], limit


def test_a_real_full_disk_names_the_file(tmp_path: Path) -> None:
    words, limit = _full_disk(tmp_path)
    done = subprocess.run(
        [sys.executable, "-B", "-m", "cvgssl", *words],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"cvgssl finetune: {tmp_path / 'o.yaml'}: File too large; a limit"
    )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_130_and_one_line() -> None:
    script = """
        import signal, sys
        from cvgssl.cli.main import guarded
        def command(words, prog):
            print("ready", flush=True)
            signal.pause()
            return 0
        sys.exit(guarded(command, [], "prog"))
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert (child.returncode, err) == (130, "prog: interrupted\n")
