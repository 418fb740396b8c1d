"""Commands killed at random moments and started again: `python -m benchmarks.kills`.

    python -m benchmarks.kills --kills 200 --json docs/results/kills.json

Every command that writes is tried. A moment is the opening, renaming or removing of a file in the
job's folder, so that kills come by step and not by second: how fast the machine is does not matter.
What was killed (SIGKILL) is resumed, or the same command is given again, where a job has nothing to
resume; it may be killed again. In the end the results must be those of a job that nobody disturbed,
byte by byte, times aside.

Besides, each job meets a file size limit (as a full disk), few file handles, and itself: a second
process on the same cache at the same time. It must come to the same results or end with exit code
2 and one message, and then, undisturbed, to the same results.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.corpus_common import TINY
from benchmarks.kill_jobs import JOBS, SMALL, Job

ROOT = Path(__file__).parents[1]
FINISHED = "this run is finished"
VOLATILE = {"views_per_second", "seconds", "cpu_seconds", "wall_seconds", "date", "started"}
# `python -c CODE MOMENT FOLDER WORDS...`: the process kills itself at that moment; with 0 it
# counts them and writes the number into the file `moments`
AT_MOMENT = """
import atexit, os, signal, sys
last, folder = int(sys.argv.pop(1)), sys.argv.pop(1)
count, process = 0, os.getpid()
def hear(event, words):
    global count
    if event in ("open", "os.rename", "os.remove") and os.getpid() == process:
        if folder in str(words[0]):
            count += 1
            if count == last:
                os.kill(process, signal.SIGKILL)
sys.addaudithook(hear)
@atexit.register
def tell():
    if not last:
        open("moments", "w").write(str(count))
import sys; from cvgssl.cli.main import main; raise SystemExit(main())
"""
LIMITED = """
import resource, sys
kind, number = sys.argv.pop(1), int(sys.argv.pop(1))
resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (number, number))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from cvgssl.cli.main import main; raise SystemExit(main())
"""


class Bench:
    """The corpus, a Python, and the undisturbed results of every job."""

    def __init__(self, work: Path, python: str) -> None:
        self.work, self.python = work, python
        self.corpus = work / "corpus"

    def make(self) -> None:
        """What the jobs read."""
        self.corpus.mkdir(parents=True)
        make = (
            "from pathlib import Path; from benchmarks.fuzz.corpus_common import weights; "
            "weights(Path())"
        )
        synth = ("data", "synth", "steel", "--per-class", "4", "--image-size", "48")
        self._checked(self.run(self.corpus, "-m", "cvgssl", *synth))
        self._checked(self.run(self.corpus, "-c", make))
        for words in (
            ("embed", "steel", *TINY, *SMALL, "--out", "steel.npz"),
            ("fit", "steel", "--shot", "1", *TINY, *SMALL, "--out", "fitted"),
        ):
            self._checked(self.run(self.corpus, "-m", "cvgssl", *words))
        shutil.rmtree(self.corpus / "cache")

    def fresh(self, name: str) -> Path:
        """A copy of the corpus, and an empty `out/`."""
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.corpus, place)
        (place / "out").mkdir()
        return place

    def run(self, place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in `place`; what a killed process leaves running ends with it."""
        command = [self.python, *words]
        process = subprocess.Popen(
            command,
            cwd=place,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # workers without their parent would keep the pipes open
        ending = threading.Thread(target=_end_group, args=(process,))
        ending.start()
        out, errors = process.communicate()
        ending.join()
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def start(self, place: Path, *words: str) -> "subprocess.Popen[str]":
        """Begin Python in `place`."""
        return subprocess.Popen(
            [self.python, *words],
            cwd=place,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "CVGSSL_CACHE": "cache",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
        }

    @staticmethod
    def _checked(done: "subprocess.CompletedProcess[str]") -> None:
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)


def _end_group(process: "subprocess.Popen[str]") -> None:
    """Kill what is left of the process's group when it has ended."""
    process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 1 if a result was other than the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=200, help="in all, shared by the jobs (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[job.name for job in JOBS], help="jobs")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    options = parser.parse_args(argv)
    jobs = [job for job in JOBS if not options.only or job.name in options.only]
    begun, table, problems = time.monotonic(), {}, 0
    with tempfile.TemporaryDirectory(prefix="cvgssl-kills-") as work:
        bench = Bench(Path(work), sys.executable)
        bench.make()
        for job in jobs:
            row = disturb(bench, job, options.kills // len(jobs), random.Random(options.seed))
            table[job.name] = row
            problems += len(row["problems"])
            print(
                f"{job.name:<11} {row['kills']} kills, {len(row['problems'])} problems", flush=True
            )
            for problem in row["problems"]:
                print(f"    {problem}")
    print(f"{problems} problems, {time.monotonic() - begun:.0f} s")
    if options.json:
        from cvgssl.runtime.files import write_json

        write_json(options.json, {"seed": options.seed, "problems": problems, "jobs": table})
    return 1 if problems else 0


def disturb(bench: Bench, job: Job, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kills and other disturbances of one job: {"kills", "moments", "problems"}."""
    place = bench.fresh("job")
    done = bench.run(place, "-c", AT_MOMENT, "0", str(place), *job.words)
    if done.returncode:
        raise RuntimeError(f"{job.name}: {done.stdout}{done.stderr}")
    moments, expected = int((place / "moments").read_text()), results(place, job)
    problems, killed = [], 0
    while killed < kills:
        place = bench.fresh("job")
        words, log = job.words, []
        for _ in range(4):
            moment = rng.randint(1, moments) if killed < kills and len(log) < 3 else 10**9
            done = bench.run(place, "-c", AT_MOMENT, str(moment), str(place), *words)
            log.append(f"{moment}: {done.returncode}")
            if done.returncode != -9:
                break
            killed += 1
            words = job.resume if job.resume and (place / job.resume[-1]).exists() else job.words
        message = (done.stdout + done.stderr)[-300:]
        if done.returncode and FINISHED not in message:  # killed as it removed its last file
            problems.append(f"kills at {log}: {message}")
        elif results(place, job) != expected:
            problems.append(f"kills at {log}: another result")
    problems += limits(bench, job, expected) + together(bench, job, expected)
    return {"kills": killed, "moments": moments, "problems": problems}


def limits(bench: Bench, job: Job, expected: list[Any]) -> list[str]:
    """A full disk and few file handles: one message, then, without them, the same result."""
    problems = []
    for kind, number in (("FSIZE", 3000), ("FSIZE", 100), ("NOFILE", 12), ("NOFILE", 20)):
        place, what = bench.fresh("job"), f"{kind} {number}"
        done = bench.run(place, "-c", LIMITED, kind, str(number), *job.words)
        if done.returncode not in (0, 2) or "Traceback" in done.stderr:
            problems.append(f"{what}: exit code {done.returncode}: {done.stderr[-300:]}")
            continue
        if done.returncode:
            words = job.resume if job.resume and (place / job.resume[-1]).exists() else job.words
            done = bench.run(place, "-m", "cvgssl", *words)
        if done.returncode:
            problems.append(f"{what}, then without: {done.stderr[-300:]}")
        elif results(place, job) != expected:
            problems.append(f"{what}, then without: another result")
    return problems


def together(bench: Bench, job: Job, expected: list[Any]) -> list[str]:
    """Two processes on one cache: both come to the result."""
    place = bench.fresh("job")
    shutil.copytree(bench.corpus, place / "second")
    (place / "second/out").mkdir()
    shutil.rmtree(place / "second/cache", ignore_errors=True)
    (place / "cache").mkdir(exist_ok=True)
    (place / "second/cache").symlink_to(place / "cache")
    both = [bench.start(folder, "-m", "cvgssl", *job.words) for folder in (place, place / "second")]
    said = [process.communicate()[0] for process in both]
    problems = []
    for process, text, folder in zip(both, said, (place, place / "second"), strict=True):
        if process.returncode:
            problems.append(f"two at a time: exit code {process.returncode}: {text[-300:]}")
        elif results(folder, job) != expected:
            problems.append("two at a time: another result")
    return problems


def results(place: Path, job: Job) -> list[Any]:
    """What the job wrote."""
    out = place / "out"
    found: list[Any] = []
    for name in job.results:
        path = out / name
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found += [(str(file.relative_to(out)), _content(file, place)) for file in files]
    return found


def _content(path: Path, place: Path) -> Any:
    if not path.exists():
        return None
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:  # `about` names the folder of the job
            return {name: file[name].tolist() for name in file.files if name != "about"}
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return [_steady(json.loads(line)) for line in lines]
    return path.read_bytes().replace(os.fsencode(place), b"PLACE")  # a split has whole paths


def _steady(value: Any) -> Any:
    """Without what depends on the clock."""
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
