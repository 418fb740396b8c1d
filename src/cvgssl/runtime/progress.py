"""Progress that people can read: a bar on a terminal, a plain line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cvgssl.runtime.parsing import printable

PLAIN_EVERY = 10.0  # seconds between plain lines
EVERY = "CVGSSL_PROGRESS_SECONDS"  # environment variable: another number, for who reads them


class Advance(Protocol):
    """Says that `n` more are done; `note` (for example a loss) is shown beside the count."""

    def __call__(self, n: int, note: str = "", /) -> None:
        """To be called as work gets done."""


def is_first_here() -> bool:
    """Whether this process is the one of its machine that shows what is going on."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def progress(label: str, total: int, shown: bool = True) -> Iterator[Advance]:
    """Give `advance(n)`, to be called as work gets done; shows rate and time left on stderr.

    On a terminal a bar; elsewhere (a log file, a pipe) a plain line every ten seconds, so that
    short work prints nothing. `shown=False` counts silently (processes other than the first).
    """
    if not shown or total <= 0:
        yield lambda _n, _note="": None
    elif sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        yield _PlainLines(label, total).advance


@contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    start = time.monotonic()
    # lines printed meanwhile go above the bar, but those for a pipe or file stay on their way
    above = sys.stdout.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=above) as bar:
        task = bar.add_task(label, total=total, rate=0.0, note="")

        def advance(n: int, note: str = "", /) -> None:
            rate = (bar.tasks[0].completed + n) / max(time.monotonic() - start, 1e-6)
            bar.update(task, advance=n, rate=rate, note=printable(note))

        yield advance


class _PlainLines:
    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self.start = self.last = time.monotonic()
        self.every = float(os.environ.get(EVERY, PLAIN_EVERY))

    def advance(self, n: int, note: str = "", /) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last < self.every:
            return
        self.last = now
        rate = self.done / (now - self.start)
        left = (self.total - self.done) / rate if rate else 0.0
        line = f"{self.label}: {self.done} of {self.total}, {rate:.1f}/s, {left:.0f} s left"
        line += f", {note}" if note else ""
        print(printable(line), file=sys.stderr, flush=True)
