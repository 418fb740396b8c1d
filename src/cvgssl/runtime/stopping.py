"""Signals that ask a process to end: either at once, cleaning up, or after saving its work.

Exit codes are those of the shell: 128 and the signal's number (Ctrl-C 130, SIGTERM 143, SIGHUP
129).
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]
_AT_ONCE = ("SIGTERM", "SIGHUP")  # Ctrl-C raises KeyboardInterrupt without a handler
_AFTER_SAVING = ("SIGINT", "SIGTERM", "SIGHUP")
WITH_INPUT = "CVGSSL_END_WITH_INPUT"
"""Environment variable of `end_with_input`."""
_CLEANING = 5.0  # seconds that cleaning up may take when the input has ended
_HINT = b"stopping: the work is saved first; Ctrl-C again ends at once\n"


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; what is open is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Stopped(Exception):  # noqa: N818  (an outcome, not an error)
    """The work was asked to stop and has saved in `folder` what it needs to go on.

    signal: that asked; SIGTERM where only another process of the job was asked.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped; {folder} can be resumed")
        self.folder = folder
        self.signal: int = signal.SIGTERM

    @property
    def exit_code(self) -> int:
        """Of a command that ends so."""
        return 128 + self.signal


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise Interrupted, so that no half-written file stays."""

    def end(number: int, _frame: FrameType | None) -> None:
        _leave_lost_terminal()
        raise Interrupted(number)

    with _handling(_AT_ONCE, end):
        yield


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Inside the block SIGTERM, SIGHUP and Ctrl-C only set a flag.

    Gives a function that says whether it is set.

    A second Ctrl-C raises KeyboardInterrupt, but not below torchrun, which sends each signal again.
    In a thread other than the main one (where Python allows no handlers) no signal is noted.
    """
    came = 0
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        _leave_lost_terminal()
        if number == signal.SIGINT and not several:
            if came:
                raise KeyboardInterrupt
            with suppress(OSError):  # not print, which may be at work in the interrupted code
                os.write(2, _HINT)
        came = came or number

    with _handling(_AFTER_SAVING, note):
        try:
            yield lambda: came != 0
        except Stopped as stopped:
            stopped.signal = came or stopped.signal
            raise


def end_with_input() -> None:
    """Where WITH_INPUT is set, end this process when its standard input ends, as by SIGTERM.

    For a process whose parent holds the other end of a pipe: however the parent ends, the system
    closes that. Processes that this one starts are not told to do the same.
    """
    if not os.environ.pop(WITH_INPUT, ""):
        return

    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        if hasattr(signal, "pthread_kill"):  # wakes the main thread where that waits for another
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(_CLEANING)
            if os.getpgrp() == os.getpid():  # its workers, too
                os.killpg(0, signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="input", daemon=True).start()


@contextmanager
def _handling(names: Sequence[str], handler: _Handler) -> Iterator[None]:
    """Let `handler` take the signals that there are here and that nobody ignores, as nohup does."""
    before = {}
    try:
        for name in names:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # not the main thread
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _leave_lost_terminal() -> None:
    """Print to nowhere from now on, where the terminal has gone: every write to it would fail."""
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
