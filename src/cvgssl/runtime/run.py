"""The folder of a run: log, metrics, a snapshot to resume from; the time that a run takes."""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from cvgssl.runtime.environment import environment
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.files import naming_file, new_folder, write_json, write_text, writing
from cvgssl.runtime.lock import Lock
from cvgssl.runtime.options import CONFIG, JobOptions, to_yaml
from cvgssl.runtime.parsing import machine_trouble, parse_json, parsing, printable, read_text
from cvgssl.runtime.places import check_place

ENVIRONMENT, SUMMARY = "environment.json", "summary.json"
LOG, METRICS, SNAPSHOT = "log.txt", "metrics.jsonl", "snapshot.pt"
LARGEST = 1e30  # figure of metrics.jsonl that is drawn


class RunFolder:
    """Log, metrics and snapshot of one run, written by the first process only.

    The snapshot remembers how long the growing files were, so that resuming cuts off what was
    written after it: every line is then there once, as without the interruption.

    lock: that this process holds on the folder while it writes there.
    """

    def __init__(self, path: Path, writes: bool = True, lock: Lock | None = None) -> None:
        self.path = path
        self.writes = writes
        self._lock = lock
        self._files: dict[str, TextIO] = {}

    def log(self, line: str) -> None:
        """Append a line to log.txt and print it."""
        if self.writes:
            line = printable(line)
            self._append(LOG, line)
            print(line, flush=True)

    def metrics(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        if self.writes:
            self._append(METRICS, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl: draw, epoch, and figures or None; raises UserError."""
        path, kind = self.path / METRICS, "rows of metrics"
        lines = read_text(path, kind).splitlines()
        with parsing(path, kind, "the run cannot go on; start a new one"):
            return [_checked_row(json.loads(line)) for line in lines]

    def save_snapshot(self, state: dict[str, Any]) -> None:
        """Write the state to resume from: tensors and plain values; whole or not at all."""
        if not self.writes:
            return
        sizes = {}
        for name in (LOG, METRICS):
            path = self.path / name
            sizes[name] = path.stat().st_size if path.exists() else 0
        # torch reports a full disk as a RuntimeError without a cause; bytes give an OSError.
        buffer = io.BytesIO()
        torch.save(state | {"sizes": sizes}, buffer)
        with writing(self.path / SNAPSHOT) as aside:
            aside.write_bytes(buffer.getbuffer())

    def load_snapshot(self, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
        """The last snapshot, or None; cuts the growing files back to where they were then.

        read: reads the file without running anything in it; UserError when that cannot be done.
        """
        path = self.path / SNAPSHOT
        state: dict[str, Any] = {}
        sizes: dict[str, int] = {}
        exists = path.exists()
        if exists:
            with self.restoring():
                state = read(path)
                sizes = {name: int(size) for name, size in state.pop("sizes").items()}
        if self.writes:
            self._close_files()
            for name in (LOG, METRICS):
                if (self.path / name).exists():
                    with (self.path / name).open("r+b") as file:
                        size = max(0, sizes.get(name, 0))
                        file.truncate(min(size, file.seek(0, io.SEEK_END)))
        return state if exists else None

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Around what takes a snapshot over: whatever does not fit in it is one line."""
        path = self.path / SNAPSHOT
        try:
            yield
        except Exception as error:
            if trouble := machine_trouble(error):
                raise MachineError(f"{path}: {trouble}") from error
            if type(error).__name__ == "OutOfMemoryError":  # of a GPU
                raise
            raise UserError(f"{path}: damaged; remove it to start the run again") from error

    def close(self) -> None:
        """Close the growing files and let other processes write here."""
        self._close_files()
        if self._lock is not None:
            self._lock.release()

    def _close_files(self) -> None:
        for name, file in self._files.items():
            with naming_file(self.path / name):  # what could not be written is tried once more
                file.close()
        self._files.clear()

    def _append(self, name: str, line: str) -> None:
        if name not in self._files:
            self.path.mkdir(parents=True, exist_ok=True)
            self._files[name] = (self.path / name).open("a", encoding="utf-8")
        file = self._files[name]
        with naming_file(self.path / name):
            file.write(line + "\n")
            file.flush()


@dataclass(frozen=True)
class RunKind:
    """What distinguishes a run from others.

    command: that starts it (`pretrain`, `finetune`, `linear`); no other command may resume it.
    name: of its folder where --out is left out.
    facts: that must be the same when it is resumed, as JSON values, kept in environment.json.
    check: takes the facts that were recorded; raises UserError for what has changed.
    """

    command: str
    name: str
    facts: Mapping[str, Any]
    check: Callable[[Mapping[str, Any]], None]


def open_run(
    config: JobOptions,
    kind: RunKind,
    accelerator: Accelerator,
    write_more: Callable[[Path], None] = lambda _path: None,
) -> RunFolder:
    """The folder of `config.resume`, or a new one with environment.json and config.yaml.

    write_more: called with a new folder, to write what else belongs there. The new folder appears
    whole or not at all. Raises UserError when its place is taken, and when the run to resume is
    finished, of another command, changed, or at work in another process.
    """
    writes = accelerator.is_main_process
    if config.resume is not None:
        lock = Lock(config.resume, "--resume") if writes else None
        try:
            _check_resumable(config.resume, kind)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return RunFolder(config.resume, writes, lock)
    # the first process chooses, so that all agree
    chosen = [_new_path(config.out, config.log_dir, kind.name) if writes else None]
    path: Path = broadcast_object_list(chosen)[0]
    if not writes:
        return RunFolder(path, writes)
    try:
        with new_folder(path, "--out") as aside:  # so that a run that is there can be resumed
            started_by = {"started_by": kind.command}
            write_json(aside / ENVIRONMENT, started_by | environment() | dict(kind.facts))
            write_more(aside)
            write_text(aside / CONFIG, to_yaml(config))
            lock = Lock(aside, "--out")
    except BaseException:
        if config.out is None:
            with suppress(OSError):
                path.rmdir()
        raise
    lock.moved(path)
    return RunFolder(path, writes, lock)


def check_command(path: Path, command: str) -> None:
    """Raise UserError where not `command` but another one started the run in `path`."""
    started_by = _record(path).get("started_by")
    if started_by != command:
        raise UserError(
            f"--resume {path}: was started by `cvgssl {started_by}`; resume it with that"
            if started_by
            else f"--resume {path}: does not say which command started it; start a new run"
        )


def _record(path: Path) -> dict[str, Any]:
    recorded = parse_json(path / ENVIRONMENT, "a run's record", "start a new run")
    if not isinstance(recorded, dict):
        raise UserError(f"{path / ENVIRONMENT}: is no run's record; start a new run")
    return recorded


def _check_resumable(path: Path, kind: RunKind) -> None:
    check_command(path, kind.command)
    if (path / SUMMARY).exists():
        raise UserError(f"--resume {path}: this run is finished; its result is in {SUMMARY}")
    with parsing(path / ENVIRONMENT, "a run's record", "start a new run"):
        kind.check(_record(path))


def _new_path(out: Path | None, log_dir: Path, name: str) -> Path:
    """Where a new run goes: `out`, which must be free, else a new empty folder in `log_dir`.

    Made at once, so that jobs that start together get folders of their own.
    """
    if out is not None:
        check_place(out, "--out", folder=True)
        if out.exists() and any(out.iterdir()):
            raise UserError(f"--out {out}: exists already; choose another folder, or --resume it")
        return out
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    check_place(log_dir, "--log-dir", folder=True)
    log_dir = log_dir.resolve() if log_dir.is_symlink() else log_dir
    log_dir.mkdir(parents=True, exist_ok=True)
    for path in map(log_dir.joinpath, names):
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("names have no end")


class Clock:
    """Seconds since it was made, after those of earlier processes."""

    def __init__(self) -> None:
        self._wall, self._processor = time.monotonic(), time.process_time()

    def went_on(self, seconds: float, processor_seconds: float) -> None:
        """Add what a run had taken when it was interrupted."""
        self._wall -= seconds
        self._processor -= processor_seconds

    @property
    def seconds(self) -> float:
        """By the clock on the wall, without the time between processes."""
        return time.monotonic() - self._wall

    @property
    def processor_seconds(self) -> float:
        """Of all cores, of this process; that of a busy machine as of a quiet one."""
        return time.process_time() - self._processor


def _checked_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics as it is; raises ValueError for one without a place, or of other values."""
    if any(type(row[key]) is not int or not 0 <= row[key] < 2**31 for key in ("draw", "epoch")):
        raise ValueError("draw and epoch must be whole numbers")
    figures = [value for value in row.values() if value is not None]
    if any(isinstance(value, bool | str) or float(value) > LARGEST for value in figures):
        raise ValueError("figures must be numbers")
    return row
