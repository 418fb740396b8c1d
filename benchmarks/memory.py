"""Peak memory of linear evaluation on many pictures.

    python benchmarks/memory.py --pictures 10000 --json results.json

Writes gray 200 x 200 BMP files of noise in two classes to a temporary folder, runs `cvgssl linear`
on them and prints the largest resident memory of that process.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "run"
        write_pictures(data, args.pictures)
        words = ["linear", str(data), "--arch", args.arch, "--shot", "4", "--out", str(out)]
        subprocess.run([sys.executable, "-m", "cvgssl", *words], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB to GiB
    print(f"{args.pictures} pictures, {args.arch} at 224 px: peak {peak:.2f} GiB")
    result = {"pictures": args.pictures, "arch": args.arch, "peak_gib": peak}
    if args.json:
        write_json(args.json, result | {"hardware": hardware()})


def write_pictures(data: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(count):
        folder = data / ("train" if number % 10 < 7 else "test") / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (200, 200), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")


if __name__ == "__main__":
    main()
