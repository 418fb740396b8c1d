"""Label propagation over many pictures: seconds by the clock, of processor time, and peak memory.

    python benchmarks/propagation.py [--pictures 200000] [--width 384] [--json propagation.json]

Features are made up: six groups, each a chain of smaller ones, as float32 of length 1. One label
per smaller group of one chain end is given. The peak is that of the whole process.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads import HEADS
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

CLASSES, STEPS = 6, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--labels", type=int, default=16, help="per class")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    features, truth = chains(args.pictures, args.width)
    y = np.full(len(truth), -1)
    for label in range(CLASSES):
        y[np.flatnonzero(truth == label)[: args.labels]] = label
    head = HEADS["propagation"]()
    start, worked = time.perf_counter(), time.process_time()
    head.fit(features, y)
    seconds, cpu = time.perf_counter() - start, time.process_time() - worked
    accuracy = 100 * float((head.transduction_ == truth)[y < 0].mean())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = f"{seconds:.1f} s ({cpu:.1f} s of processor time)"
    print(f"{args.pictures} x {args.width}: {took}, peak {peak:.2f} GiB, {accuracy:.1f} %")
    if args.json:
        result = {"pictures": args.pictures, "width": args.width, "labels": args.labels}
        result |= {"seconds": seconds, "cpu": cpu, "peak_gib": peak, "accuracy": accuracy}
        write_json(args.json, result | {"hardware": hardware()})


def chains(count: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features float32 [count, width] and classes [count]."""
    generator = np.random.default_rng(0)
    truth = np.arange(count) % CLASSES
    ends = generator.standard_normal((2, CLASSES, width), dtype=np.float32)
    along = generator.integers(0, STEPS, count)[:, None].astype(np.float32) / STEPS
    rows = ends[0, truth] * (1 - along) + ends[1, truth] * along
    rows += 0.3 * generator.standard_normal((count, width), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, truth


if __name__ == "__main__":
    main()
