"""Mutate the corpus and read every file in a process of its own: `python -m benchmarks.fuzz`.

    python -m benchmarks.fuzz --files 10000 --json docs/results/fuzz.json

Each file is read by a fork with limits: 10 s of processor time, 1 GiB of memory above what the
forking process has. Right is a result (exit code 0 or 1), or exit code 2 with a short message. All
else is a failure: another exception, a limit reached, a message of many lines, a damaged cache
used as if it were sound. Failures are kept in the folder --out, with their traceback, and the exit
code is 1.
"""

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz import corpus

SECONDS = 10
MEMORY = 2**30
LONGEST_MESSAGE = 4000  # characters; a message names at most a few files
# how often a group comes, by what a file of it costs
SHARES = {
    "pictures": 24,
    "lists": 10,
    "settings": 8,
    "weights": 8,
    "features files": 8,
    "draws": 4,
    "runs": 2,
    "exported": 2,
    "station": 1,
    "answers": 1,
    "caches": 1,
    "bench": 1,
}
REFUSED, FAILED, UNEQUAL, TALKATIVE, NO_MEMORY = 2, 70, 71, 72, 73
VERDICTS = {0: "result", 1: "result", REFUSED: "refused"}
FAILURES = {
    FAILED: "another exception",
    UNEQUAL: "a damaged cache was used",
    TALKATIVE: "a message of many lines",
    NO_MEMORY: "memory",
    -signal.SIGPROF: "time",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--files", type=int, default=10_000, help="mutated files (10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", default=[], help="groups or parts of file names")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder of failures (fuzz)")
    options = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve a GiB of addresses
    from cvgssl.runtime.files import write_json

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cvgssl-fuzz-") as work:
        _import_everything()
        whole = {group for group in SHARES if group in options.only}
        only = whole if whole == set(options.only) else ()  # else all, to look for the names
        targets = corpus.make(Path(work) / "corpus", only)
        targets = [t for t in targets if not options.only or any(o in t.name for o in options.only)]
        print(f"{len(targets)} sound files, {time.monotonic() - begun:.0f} s", flush=True)
        workers = []
        for job in range(options.jobs):
            pid = os.fork()
            if not pid:
                try:
                    counts = _work(options, targets, Path(work), job)
                    write_json(Path(work) / f"{job}.json", [[*key, n] for key, n in counts.items()])
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            workers.append(pid)
        statuses = [os.waitpid(pid, 0)[1] for pid in workers]
        if any(statuses):
            raise RuntimeError("a worker of the fuzzer ended")
        counts = _collected(Path(work), options.jobs)
    table = _table(counts)
    print("\n".join(f"{group:<16}" + _row(row) for group, row in table.items()))
    failures = sum(n for row in table.values() for verdict, n in row.items() if _bad(verdict))
    files = sum(counts.values())
    print(f"{files} files, {failures} failures, {time.monotonic() - begun:.0f} s")
    if failures:
        print(f"kept in {options.out}")
    if options.json:
        about = {"files": files, "failures": failures, "seed": options.seed, "groups": table}
        write_json(options.json, about)
    return 1 if failures else 0


def _work(
    options: argparse.Namespace, targets: Sequence[corpus.Target], work: Path, job: int
) -> Counter[tuple[str, str]]:
    """Every `jobs`-th file, beginning with the `job`-th."""
    counts: Counter[tuple[str, str]] = Counter()
    begun = time.monotonic()
    root = work / f"copy_{job}"
    expected: dict[str, bytes] = {}
    checked: set[str] = set()
    # within a group every file alike
    there = {target.group for target in targets}
    groups = [group for group in SHARES if group in there]
    groups = [
        group for turn in range(max(SHARES.values())) for group in groups if turn < SHARES[group]
    ]
    turns: Counter[str] = Counter()
    as_made = False  # whether the copy is that of the corpus
    for number in range(options.files):
        group = groups[number % len(groups)]
        own = [target for target in targets if target.group == group]
        target = own[turns[group] % len(own)]
        turns[group] += 1
        if number % options.jobs != job:
            continue
        if number and number % 100 == 0:
            print(f"{number} files, {time.monotonic() - begun:.0f} s", flush=True)
        rng = random.Random(f"{options.seed} {number} {target.name}")
        if not as_made:
            _copy(work / "corpus", root)
        if target.name not in checked:
            checked.add(target.name)
            verdict, message = _read(target, root, {})
            if verdict != "result":  # then no damage would be seen
                raise RuntimeError(f"{target.name} as it was made is {verdict}: {message}")
            if target.same:
                expected[target.same] = (root / target.same).read_bytes()
            if not target.reads_only:
                _copy(work / "corpus", root)
        sound = (root / target.file).read_bytes()
        mutate = rng.choice(target.mutate)
        try:
            data = mutate(sound, rng)
        except Exception:  # what no writer takes
            data = sound[: rng.randrange(len(sound) + 1)]
        (root / target.file).unlink()  # it can be a link
        (root / target.file).write_bytes(data)
        verdict, message = _read(target, root, expected)
        as_made = target.reads_only
        if as_made:
            (root / target.file).unlink()
            os.link(work / "corpus" / target.file, root / target.file)
        counts[group, verdict] += 1
        if _bad(verdict):
            kept = options.out / f"{number}"
            kept.mkdir(parents=True, exist_ok=True)
            (kept / Path(target.file).name).write_bytes(data)
            (kept / "about.txt").write_text(
                f"{target.name}\n{mutate.__name__}\n{verdict}\n{message}\n", errors="replace"
            )
    return counts


def _read(target: corpus.Target, root: Path, expected: dict[str, bytes]) -> tuple[str, str]:
    """Read the file in a fork; the verdict and what was printed."""
    printed = root / "printed.txt"
    pid = os.fork()
    if not pid:
        code = FAILED
        with contextlib.suppress(BaseException):
            code = _in_fork(target, root, printed, expected)
        os._exit(code)
    deadline = time.monotonic() + 20 * SECONDS  # for what waits without working
    while True:
        done, status, _ = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += 60
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    message = printed.read_text(errors="replace") if printed.exists() else ""
    if code in VERDICTS:
        return VERDICTS[code], message
    return FAILURES.get(code, f"ended by {code}"), message


def _in_fork(target: corpus.Target, root: Path, printed: Path, expected: dict[str, bytes]) -> int:
    """Read the file under limits; the exit code says what became of it."""
    os.chdir(root)
    os.environ["CVGSSL_CACHE"] = str(root / "cache")
    out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    limit = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends also what never returns to Python
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        code = target.use(root)
    except MemoryError:
        code = NO_MEMORY
    except SystemExit as end:  # argparse
        code = end.code if isinstance(end.code, int) else FAILED
    except BaseException:
        traceback.print_exc()
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    signal.setitimer(signal.ITIMER_PROF, 0)
    text = printed.read_text(errors="replace")
    if code == REFUSED and "memory is full" in text:
        return NO_MEMORY
    if len(text) > LONGEST_MESSAGE and code == REFUSED:
        return TALKATIVE
    if code == 0 and target.same in expected:
        return 0 if (root / target.same).read_bytes() == expected[target.same] else UNEQUAL
    if target.same in expected:
        return UNEQUAL  # a damaged cache must not end a job
    return code


def _copy(source: Path, root: Path) -> None:
    """A fresh copy of the corpus; what no command writes in place are links, to save time.

    By cp and rm: Python takes ten times as long for a thousand files.
    """
    subprocess.run(["rm", "-rf", root], check=True)
    root.mkdir()
    written = [path for path in source.iterdir() if path.name in corpus.WRITTEN]
    linked = [path for path in source.iterdir() if path.name not in corpus.WRITTEN]
    for how, paths in (("-a", written), ("-al", linked)):
        if paths:
            subprocess.run(["cp", how, *paths, root], check=True)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _import_everything() -> None:
    """Import what commands import, so that a fork begins in milliseconds."""
    import importlib
    import pkgutil

    import cvgssl

    for module in pkgutil.walk_packages(cvgssl.__path__, "cvgssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _bad(verdict: str) -> bool:
    return verdict not in VERDICTS.values()


def _collected(work: Path, jobs: int) -> Counter[tuple[str, str]]:
    from cvgssl.runtime.files import read_json

    counts: Counter[tuple[str, str]] = Counter()
    for job in range(jobs):
        for group, verdict, number in read_json(work / f"{job}.json"):
            counts[group, verdict] += number
    return counts


def _table(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (group, verdict), number in sorted(counts.items()):
        table.setdefault(group, {})[verdict] = number
    return table


def _row(row: dict[str, int]) -> str:
    return ", ".join(f"{number} {verdict}" for verdict, number in row.items())


if __name__ == "__main__":
    sys.exit(main())
