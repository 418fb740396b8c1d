"""The folder of a run: text that grows while it goes on, and one snapshot to resume from."""

import io
import json
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import torch

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import writing

LOG, METRICS, SNAPSHOT = "log.txt", "metrics.jsonl", "snapshot.pt"


class RunFolder:
    """Log, metrics and snapshot of one run, written by the first process only.

    The snapshot remembers how long the growing files were, so that resuming cuts off what was
    written after it: every line then stands there once, as without the interruption.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self._files: dict[str, TextIO] = {}

    def log(self, line: str) -> None:
        """Append a line to log.txt and print it."""
        if self.writes:
            print(line, flush=True)
            self._append(LOG, line)

    def metrics(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        if self.writes:
            self._append(METRICS, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        text = (self.path / METRICS).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

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

    def load_snapshot(self) -> dict[str, Any] | None:
        """The last snapshot, or None; cuts the growing files back to where they were then."""
        path = self.path / SNAPSHOT
        state: dict[str, Any] = {}
        sizes: dict[str, int] = {}
        found = path.exists()
        if found:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                sizes = state.pop("sizes")
            except Exception as error:
                raise UserError(f"{path}: damaged; remove it to start the run again") from error
        if self.writes:
            self.close()
            for name in (LOG, METRICS):
                if (self.path / name).exists():
                    with (self.path / name).open("r+b") as file:
                        file.truncate(min(sizes.get(name, 0), file.seek(0, io.SEEK_END)))
        return state if found else None

    def close(self) -> None:
        """Close the growing files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _append(self, name: str, line: str) -> None:
        if name not in self._files:
            self.path.mkdir(parents=True, exist_ok=True)
            self._files[name] = (self.path / name).open("a", encoding="utf-8")
        file = self._files[name]
        file.write(line + "\n")
        file.flush()


def new_run_path(out: Path | None, log_dir: Path, name: str) -> Path:
    """Where a new run goes: `out`, which must be free, else a free name in `log_dir`."""
    if out is not None:
        if out.exists() and any(out.iterdir()):
            raise UserError(f"--out {out}: exists already; choose another folder, or --resume it")
        return out
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(path for path in map(log_dir.joinpath, names) if not path.exists())
