"""Seconds to decode, resize and store every picture of a folder.

    python benchmarks/decode.py DATA [--size 224] [--repeat 3] [--json decode.json]

Each repetition starts from the files (the operating system's file cache is warm after the first)
and ends with the pictures in memory; a further line is for the memory-mapped store, made and
then found again. Beside them is a plain loop over the same files: Pillow, one thread.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import list_pictures
from cvgssl.images.store import load_pictures


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain_loop(paths: list[Path], size: int) -> None:
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()

    paths = list_pictures(options.data)
    geometry = Geometry(options.size)
    figures: dict[str, list[float]] = {"plain": [], "memory": [], "cache made": [], "cache": []}
    for _ in range(options.repeat):
        figures["plain"].append(seconds(lambda: plain_loop(paths, options.size)))
        figures["memory"].append(seconds(lambda: load_pictures(paths, geometry)))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def on_disk(folder: Path = folder) -> None:
                load_pictures(paths, geometry, memory_budget=0, cache_dir=folder)

            figures["cache made"].append(seconds(on_disk))
            figures["cache"].append(seconds(on_disk))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, median in medians.items():
        print(f"{name:10} {median:7.2f} s  {len(paths) / median:8.0f} pictures/s")
    if options.json:
        result = {
            "pictures": len(paths),
            "size": options.size,
            "cores": os.cpu_count(),
            "seconds": figures,
            "ratio_plain_to_memory": medians["plain"] / medians["memory"],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
