"""What is mutated and who reads it, and how the corpus's own commands are run."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzz.mutations import Mutation

Use = Callable[[Path], int]


@dataclass(frozen=True)
class Target:
    """What is mutated and who reads it.

    group: the row of the result table.
    file: the sound file, below the corpus folder.
    use: reads the file, in the folder that is a copy of the corpus; the exit code.
    same: a file below the copy that must be written exactly as from the sound file: the mutated
        one is a cache.
    reads_only: whether `use` leaves the folder as it was.
    """

    group: str
    file: str
    mutate: tuple[Mutation, ...]
    use: Use
    same: str = ""
    reads_only: bool = False

    @property
    def name(self) -> str:
        """The group and the file."""
        return f"{self.group}: {self.file}"


def command(*words: str) -> Use:
    """Run `cvgssl WORDS...`."""

    def use(_root: Path) -> int:
        from cvgssl.cli.main import main

        return main(words)

    return use


def called_in_process(read: Callable[[Path], object]) -> Use:
    """Call a function of the package as the command line would: its complaints are exit code 2."""

    def use(root: Path) -> int:
        from cvgssl.cli.console import complain
        from cvgssl.runtime.errors import UserError

        try:
            read(root)
        except UserError as error:
            complain("cvgssl", str(error))
            return 2
        return 0

    return use


def called(folder: Path, *words: str) -> None:
    """Run a command that must succeed, in `folder`, in a fork."""
    forked(folder, lambda: command(*words)(folder), " ".join(words))


def stopped(folder: Path, line: str, *words: str) -> None:
    """Run a job that gets SIGTERM when it has logged a line that begins so."""

    def job() -> int:
        from cvgssl.runtime.run import RunFolder

        log = RunFolder.log

        def logged(run: RunFolder, text: str) -> None:
            log(run, text)
            if text.startswith(line):
                os.kill(os.getpid(), signal.SIGTERM)

        RunFolder.log = logged  # type: ignore[method-assign]
        command(*words)(folder)
        return 0

    forked(folder, job, " ".join(words))


def forked(folder: Path, job: Callable[[], int], name: str) -> None:
    """Run `job` in a fork in `folder`; raises RuntimeError with what it printed if it fails."""
    printed = folder / "printed.txt"
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.chdir(folder)
            os.environ["CVGSSL_CACHE"] = "cache"
            out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            code = job()
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = printed.read_text(errors="replace")
    printed.unlink()
    if code:
        raise RuntimeError(f"{name}: {text}")
