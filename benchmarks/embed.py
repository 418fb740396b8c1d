"""Embedding many pictures: pictures per second, cold and warm, and peak memory.

    python benchmarks/embed.py --pictures 20000 --json results.json

Writes gray noise pictures of 64 x 64 pixels to a temporary folder and runs `cvgssl embed` on them
with the default encoder: on a tenth of them, then on all with an empty cache, then once more.
Memory that grows with the number of pictures shows in the difference between the first two.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

# the largest resident memory of the process, in KiB, after its work
PROGRAM = (
    "import resource, sys; from cvgssl.cli.main import main; code = main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--encoder", default=INSTALLED)
    parser.add_argument("--side", type=int, default=64, help="of the pictures, pixels")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    result = {"encoder": args.encoder.rsplit("/", 1)[-1], "side": args.side, "hardware": hardware()}
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        write_pictures(few, args.pictures // 10, args.side, seed=1)
        write_pictures(many, args.pictures, args.side, seed=2)
        for name, data in (("few", few), ("cold", many), ("warm", many)):
            seconds, peak = embed(data, args.encoder, Path(folder))
            count = args.pictures // (10 if name == "few" else 1)
            result[name] = {"pictures": count, "seconds": seconds, "peak_mib": peak}
            print(
                f"{name}: {count} pictures in {seconds:.1f} s, {count / seconds:.0f} a second, "
                f"peak {peak:.0f} MiB"
            )
    if args.json:
        write_json(args.json, result)


def write_pictures(folder: Path, count: int, side: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        pixels = generator.integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")


def embed(data: Path, encoder: str, folder: Path) -> tuple[float, float]:
    """Seconds of the whole command, and its peak memory in MiB."""
    words = ["embed", str(data), "--encoder", encoder, "--out", str(folder / "features.npz")]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CVGSSL_CACHE": str(folder / "cache")},
    )
    return time.monotonic() - start, int(done.stdout) / 1024


if __name__ == "__main__":
    main()
