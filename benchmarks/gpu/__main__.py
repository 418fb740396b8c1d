"""All sections within a time, each in a process of its own: `python -m benchmarks.gpu --help`."""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu import table
from cvgssl.runtime.files import write_json, write_text

# in order of worth, with their shares of the time; what one leaves is there for the others
SECTIONS = {
    "equality": 85,
    "encoders": 80,
    "step": 110,
    "precision": 70,
    "view_rates": 35,
    "paper": 85,
    "deployment": 40,
}
RESULT, TABLE = "gpu.json", "gpu.md"
GRACE = 0.1  # of a section's time, that it may take longer before it is ended


def main() -> int:
    """Run the sections; 0 if all of them came to their end."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.sh", description="Every figure that needs a GPU."
    )
    parser.add_argument("out", type=Path, nargs="?", help="folder of the result (runs/gpu)")
    parser.add_argument("--seconds", type=float, default=500, help="for everything (500)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    parser.add_argument("--tiny", action="store_true", help="very little of everything")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.seconds <= 0:
        parser.error(f"--seconds {args.seconds:g}: must be above 0")
    out = args.out or Path("runs/gpu")
    if args.section:
        return run_section(args.section, out, args.seconds, args.tiny)
    names = args.only or list(SECTIONS)
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and no section is left running
    result = about(args.seconds, args.tiny) | {"sections": {}}
    (out / TABLE).unlink(missing_ok=True)  # of an earlier call
    write_json(out / RESULT, result)

    def keep(name: str, section: dict[str, Any]) -> None:
        result["sections"][name] = section
        result["seconds"] = time.monotonic() - begun
        write_json(out / RESULT, result)
        write_text(out / TABLE, table.page([result]))

    for place, name in enumerate(names):
        left = args.seconds - (time.monotonic() - begun)
        share = left * SECTIONS[name] / sum(SECTIONS[later] for later in names[place:])
        print(f"{name}: up to {share:.0f} s", flush=True)
        words = ["--section", name, "--seconds", f"{share / (1 + GRACE):.1f}"]
        words += ["--tiny"] if args.tiny else []
        keep(name, in_process(words, share, partial(keep, name)))
    print(f"{out / RESULT}, {out / TABLE}: {result['seconds']:.0f} s")
    return int(any(section["status"] != "complete" for section in result["sections"].values()))


def about(seconds: float, tiny: bool) -> dict[str, Any]:
    """What the figures are measured on and with."""
    from cvgssl.runtime.environment import environment

    facts = environment()
    del facts["command"]
    gpu = facts["gpus"][0] if facts["gpus"] else None
    day = datetime.now(UTC).date().isoformat()
    return {"gpu": gpu, "tiny": tiny, "date": day, "time limit": seconds, "environment": facts}


def in_process(
    words: list[str], seconds: float, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """A section in a process group of its own, which is killed when its time is over.

    keep: takes what there is while the section works, every two seconds, in case this process is
    killed. Gives its status (complete, out of time, or failed), its seconds, the rows that it had
    written by then and, unless it is complete, the last lines that it printed.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        log = folder / "log.txt"
        begun = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu", str(folder), *words],
                stdout=None,
                stderr=file,
                start_new_session=True,
            )
            try:
                status = "at work"
                while status == "at work":
                    left = seconds - (time.monotonic() - begun)
                    try:
                        code = process.wait(min(2.0, max(left, 0)))
                        status = "complete" if code == 0 else "failed"
                    except subprocess.TimeoutExpired:
                        status = "out of time" if left <= 2 else status
                        keep({"status": status, "rows": _rows(folder)})
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with everything that it started
                process.wait()
        errors = log.read_text(encoding="utf-8", errors="replace")
        found: dict[str, Any] = {"status": status, "seconds": time.monotonic() - begun}
        found["rows"] = _rows(folder)
    if status != "complete":
        print(f"{errors[-4000:]}\n{status}", file=sys.stderr, flush=True)
        found["errors"] = errors.strip().splitlines()[-40:]
    return found


def _rows(folder: Path) -> dict[str, Any]:
    part = folder / RESULT
    rows: dict[str, Any] = json.loads(part.read_text(encoding="utf-8")) if part.exists() else {}
    return rows


def run_section(name: str, folder: Path, seconds: float, tiny: bool) -> int:
    """This process's work when it is a section's."""
    from benchmarks.gpu.section import Section

    work = folder / "work"
    work.mkdir()
    os.environ["CVGSSL_CACHE"] = str(folder / "cache")
    importlib.import_module(f"benchmarks.gpu.{name}").main(
        Section(folder / RESULT, work, seconds, tiny)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
