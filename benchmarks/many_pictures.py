"""What a picture costs a job of very many: listing, dividing, hashing, the cache, the table.

    python benchmarks/many_pictures.py --pictures 20000 --json results.json

Writes pictures of noise to a temporary folder, goes the way of a process of `cvgssl embed` that is
one of --machines, without a network (its embeddings are noise), and prints seconds and memory per
picture. Then it reckons: --total pictures on --machines machines that embed --rate pictures a
second each. The pictures are in the system's file cache; disks and shares are slower.
"""

import argparse
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from cvgssl.features import table_files
from cvgssl.features.config import EmbedConfig
from cvgssl.features.feature_store import BLOCK, FeatureStore
from cvgssl.features.pictures import list_for_embedding
from cvgssl.features.shares import Share
from cvgssl.features.table import FeatureTable, load_features, save_part
from cvgssl.images.decoding import hash_files
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

T = TypeVar("T")
CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=200, help="of the pictures, pixels")
    parser.add_argument("--width", type=int, default=1280, help="numbers of an embedding")
    parser.add_argument("--total", type=float, default=1e8)
    parser.add_argument("--machines", type=int, default=16)
    parser.add_argument("--rate", type=float, default=100, help="pictures a second of a machine")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["CVGSSL_CACHE"] = str(Path(name) / "cache")
        write_pictures(Path(name) / "data", args.pictures, args.side)
        rows = measure(Path(name), args.width, args.machines)
    for row, figures in rows.items():
        told = [f"{value:,.3g} {unit}" for unit, value in figures.items()]
        print(f"{row}: {', '.join(told)}")
    reckoned = reckon(rows, args.total, args.machines, args.rate, args.width)
    for row, text in reckoned.items():
        print(f"{args.total:,.0f} pictures on {args.machines} machines, {row}: {text}")
    if args.json:
        facts = {"side": args.side, "width": args.width, "rate": args.rate}
        result = {"pictures": args.pictures, **facts, "measured": rows, "reckoned": reckoned}
        write_json(args.json, result | {"hardware": hardware()})


def write_pictures(data: Path, count: int, side: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(CLASSES):
        for half in ("train", "test"):
            (data / half / f"class_{number}").mkdir(parents=True)
    for number in range(count):
        half = "test" if number // CLASSES % 5 == 0 else "train"
        pixels = generator.integers(0, 256, (side, side), dtype=np.uint8)
        folder = data / half / f"class_{number % CLASSES}"
        Image.fromarray(pixels).save(folder / f"{number:09d}.bmp")


def measure(folder: Path, width: int, machines: int) -> dict[str, dict[str, float]]:
    """Microseconds and bytes of memory and disk per picture, of each step."""
    rows: dict[str, dict[str, float]] = {}

    def step(name: str, count: int, work: Callable[[], T]) -> T:
        """Done twice: by the clock, and with every piece of memory counted, which is slow."""
        begun = time.monotonic()
        work()
        seconds = time.monotonic() - begun
        tracemalloc.start()
        result = work()
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        rows[name] = {"us": 1e6 * seconds / count, "bytes kept": kept / count}
        rows[name]["bytes at most"] = peak / count
        return result

    config = EmbedConfig(data=folder / "data")
    listing = step("list", 1, lambda: list_for_embedding(config))
    total = len(listing.names)
    rows["list"] = {unit: value / total for unit, value in rows["list"].items()}
    step("divide", total, lambda: Share(0, machines).rows(listing.names))
    step("digest of the listing", total, lambda: listing.digest)
    digests = step("hash", total, lambda: hash_files(listing.paths, config))
    place = folder / "cache" / "features" / "noise"
    values = np.random.default_rng(0).standard_normal((BLOCK, width)).astype(np.float32)

    def fill() -> None:
        store = FeatureStore(place, width)
        for start in range(0, total, BLOCK):
            some = digests[start : start + BLOCK]
            store.add(some, values[: len(some)])

    step("write into the cache", total, fill)
    store = step("open the cache", total, lambda: FeatureStore(place, width))
    step("gather from the cache", total, lambda: store.gather(digests))
    rows["write into the cache"]["bytes on disk"] = size(place) / total
    table_files._IN_MEMORY = 0  # as with many pictures
    for ending in ("npz", "parquet"):
        out = folder / f"features.{ending}"

        def write(out: Path = out) -> None:
            for number in range(4):
                share = Share(number, 4)
                mine = share.rows(listing.names)
                facts = {"number": number, "of": 4, "listing": "of the benchmark"}
                labels, splits = listing.labels[mine], tuple(listing.splits[row] for row in mine)
                names = tuple(listing.names[row] for row in mine)
                values = store.gather([digests[row] for row in mine])
                table = FeatureTable(
                    values, names, labels, splits, listing.classes, {"share": facts}
                )
                save_part(table, mine, share, out)

        step(f"write parts, {ending}", total, write)
        rows[f"write parts, {ending}"]["bytes on disk"] = size(out) / total
        step(f"read parts, {ending}", total, lambda out=out: load_features(out))
    return rows


def reckon(
    rows: dict[str, dict[str, float]], total: float, machines: int, rate: float, width: int
) -> dict[str, Any]:
    """What follows for many pictures, if all grows as the number of pictures."""
    share = total / machines

    def hours(step: str, count: float) -> float:
        return rows[step]["us"] * count / 3.6e9

    listed = rows["list"]["bytes at most"] * total
    opened = rows["open the cache"]["bytes kept"] * share
    table = rows["read parts, parquet"]["bytes at most"] * total
    return {
        "embedding on each": f"{share / rate / 3600:,.1f} h",
        "listing on each": f"{hours('list', total) + hours('divide', total):,.2f} h, "
        f"{listed / 2**30:,.0f} GiB of memory",
        "hashing on each": f"{hours('hash', share):,.1f} h without a disk",
        "cache on each": f"{rows['write into the cache']['bytes on disk'] * share / 2**30:,.0f} "
        f"GiB on disk; opened {hours('open the cache', share):,.2f} h, {opened / 2**30:,.0f} GiB "
        "of memory",
        "values of the table": f"{4 * width * total / 2**30:,.0f} GiB",
        "parts": f"{rows['write parts, parquet']['bytes on disk'] * total / 2**30:,.0f} GiB, read "
        f"in {hours('read parts, parquet', total):,.1f} h (parquet), "
        f"{hours('read parts, npz', total):,.1f} h (npz), {table / 2**30:,.0f} GiB of memory",
    }


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    main()
