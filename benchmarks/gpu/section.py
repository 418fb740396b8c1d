"""What the sections share: their result, the time they have, and measuring on a GPU."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cvgssl.cli.main import main as cvgssl
from cvgssl.images.surfaces import synthesize
from cvgssl.runtime.files import write_json


@dataclass
class Section:
    """A section at work.

    part: the JSON file of its result so far. work: an empty folder. seconds: what it may take;
    it is ended soon after. tiny: little of everything, to try the section on any machine.
    """

    part: Path
    work: Path
    seconds: float
    tiny: bool
    rows: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def put(self, name: str, row: Any) -> None:
        """Keep and print a row; what was put is kept even if the section is ended."""
        self.rows[name] = row
        write_json(self.part, self.rows)
        print(f"  {name}: {_short(row)}", flush=True)

    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.started)

    def time_for(self, name: str, seconds: float) -> bool:
        """Whether so many are left; the row says that it was left out if not."""
        if self.left() >= seconds:
            return True
        self.put(name, {"not measured": "out of time"})
        return False


def _short(row: Any) -> str:
    if isinstance(row, dict):
        return ", ".join(f"{name} {_short(value)}" for name, value in row.items())
    if isinstance(row, list) and len(row) > 4:
        return f"{_short(row[0])} .. {_short(row[-1])}"
    return f"{row:.4g}" if isinstance(row, float) else str(row)


def device() -> torch.device:
    """The GPU; the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finish() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rate(work: Callable[[], object], amount: int, seconds: float) -> float:
    """`amount` per second of `work`, called again and again for so long, after three warm-ups."""
    for _ in range(3):
        work()
    finish()
    begun, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - begun < seconds:
        work()
        calls += 1
        if calls % 4 == 0:  # else hours of work could be queued within the time
            finish()
    finish()
    return amount * calls / (time.perf_counter() - begun)


def run(*words: object) -> None:
    """`cvgssl WORDS...` in this process, silently; raises RuntimeError unless it succeeds.

    A job that `terminated_when` has stopped succeeds, too.
    """
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):  # noqa: PTH123
        code = cvgssl([str(word) for word in words])
    if code not in (0, 128 + signal.SIGTERM):
        raise RuntimeError(f"cvgssl {' '.join(map(str, words))}: exit code {code}")


def generate(folder: Path, per_class: int, tiny: bool, test_fraction: float = 0.5) -> Path:
    """Generated pictures of six classes in `folder`, which is given back: 48 px if `tiny`."""
    workers = min(16, len(os.sched_getaffinity(0))) if per_class > 20 else 1
    synthesize(folder, per_class, 0, 48 if tiny else 200, test_fraction, workers=workers)
    return folder


@contextmanager
def terminated_when(ready: Callable[[], bool]) -> Iterator[None]:
    """Inside the block this process gets a SIGTERM as soon as `ready` says so.

    One that comes when the work is over has no effect.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            if ready():
                signal.raise_signal(signal.SIGTERM)
                return

    # not SIG_IGN, which commands respect
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def losses(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The loss of every epoch in the rows of a metrics.jsonl."""
    return [row["loss"] if "loss" in row else row["train_loss"] for row in rows]
