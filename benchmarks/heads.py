"""Seconds that the benchmark of all heads takes: 100 draws, 8 shots, every head.

    python benchmarks/heads.py NEU-CLS.npz --jobs 2 --json results.json

Runs `cvgssl bench` on a features file in a folder that is thrown away, by default with train/
unlabelled (semi-supervised), where the heads that use unlabelled pictures do their work. Prints the
seconds of each head, summed over its draws, and of the whole, start-up and tables included, by the
clock and of processor time, which other work on the machine changes little.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from joblib.externals.loky import get_reusable_executor

from cvgssl.bench.config import SETTINGS, SHOTS, BenchConfig
from cvgssl.bench.job import run_bench
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, help="features file of `cvgssl embed`")
    parser.add_argument("--heads", nargs="*", default=(), help="all if left out")
    parser.add_argument("--settings", nargs="+", default=["semi-supervised"], choices=SETTINGS)
    parser.add_argument("--shots", nargs="+", type=int, default=SHOTS)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: one per core")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = run_bench(
            BenchConfig(
                features=(args.features,),
                heads=tuple(args.heads),
                settings=tuple(args.settings),
                shots=tuple(args.shots),
                num_draws=args.draws,
                jobs=args.jobs,
                out=Path(folder),
            )
        )
    total = time.monotonic() - started
    get_reusable_executor().shutdown()  # only processes that have ended are counted
    cpu = sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    seconds = {
        head: sum(sum(one.seconds) for one in bench.results if one.head == head)
        for head in dict.fromkeys(one.head for one in bench.results)
    }
    for head, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{spent:8.1f} s  {head}")
    print(f"{sum(seconds.values()):8.1f} s  all heads, one after another")
    print(f"{total:8.1f} s  wall clock of {len(bench.results)} cells, {hardware()}")
    print(f"{cpu:8.1f} s  of processor time, all processes together")
    for line in bench.skipped:
        print(line)
    if args.json:
        facts = {"features": args.features.name, "hardware": hardware(), "draws": args.draws}
        write_json(args.json, facts | {"total": total, "cpu": cpu, "heads": seconds})


if __name__ == "__main__":
    main()
