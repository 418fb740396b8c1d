"""`cvgssl embed` by torch and by what compiles, on the CPU, alternating: seconds and ratios.

    python benchmarks/runtimes.py NEU-CLS --encoder tf_efficientnet_lite0 --rounds 3 --json FILE

Each job is a command with a cache folder of its own. `cold`: nothing is in the cache, so the
network is converted. `warm`: the network was used before, the pictures are new. `start`: the same
for a single picture. Ratios are of medians: of the warm command, and of what it takes beyond
`start`, which is decoding and inference. Processor seconds are of all cores; beside other work they
vary less than seconds do. `--busy 1` keeps a core busy meanwhile.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.images.listing import list_pictures
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

VARIANTS = {
    "torch fp32": ("torch", "fp32"),
    "openvino fp32": ("openvino", "fp32"),
    "openvino bf16": ("openvino", "bf16"),
    "onnxruntime fp32": ("onnxruntime", "fp32"),
}
Times = tuple[float, float]  # seconds, processor seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default=INSTALLED)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    times: dict[str, dict[str, list[Times]]] = {
        name: {"cold": [], "warm": [], "start": []} for name in VARIANTS
    }
    with tempfile.TemporaryDirectory() as folder, busy(args.busy):
        single = Path(folder) / "single"
        single.mkdir()
        picture = list_pictures(args.data)[0]
        shutil.copy(picture, single / picture.name)
        for number in range(args.rounds):
            for name, variant in VARIANTS.items():
                cache = Path(folder) / f"cache {number} {name}"
                for job, data in (("cold", args.data), ("warm", args.data), ("start", single)):
                    if job == "cold" and variant[0] == "torch":
                        continue  # the same as warm
                    for features in (cache / "features").glob("*/"):
                        shutil.rmtree(features)
                    times[name][job].append(embed(data, args.encoder, *variant, cache))
                print(name, {job: each[-1:] for job, each in times[name].items()}, flush=True)
                shutil.rmtree(cache)
    ratios = {name: ratio(times["torch fp32"], times[name]) for name in VARIANTS}
    for name, values in ratios.items():
        print(name, {key: round(value, 2) for key, value in values.items()})
    if args.json:
        about = {"data": args.data.name, "encoder": args.encoder, "hardware": hardware()}
        about |= {"rounds": args.rounds, "busy processes": args.busy}
        write_json(args.json, about | {"seconds and processor seconds": times, "ratios": ratios})


@contextmanager
def busy(count: int) -> Iterator[None]:
    """As long as this lasts, `count` processes compute without an end."""
    words = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(words) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def embed(data: Path, encoder: str, runtime: str, precision: str, cache: Path) -> Times:
    """Time of the whole command."""
    words = ["embed", data, "--encoder", encoder, "--runtime", runtime, "--precision", precision]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "cvgssl", *map(str, words), "--out", cache.with_suffix(".npz")],
        check=True,
        capture_output=True,
        env=os.environ | {"CVGSSL_CACHE": str(cache)},
    )
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(seconds, 2), round(own, 2)


def ratio(torch: dict[str, list[Times]], other: dict[str, list[Times]]) -> dict[str, float]:
    """How many times faster `other` is."""
    ratios = {}
    for place, kind in enumerate(("seconds", "processor seconds")):
        warm, start = (
            [statistics.median(times[place] for times in each[job]) for each in (torch, other)]
            for job in ("warm", "start")
        )
        ratios[f"command, {kind}"] = warm[0] / warm[1]
        ratios[f"decoding and inference, {kind}"] = (warm[0] - start[0]) / (warm[1] - start[1])
    return ratios


if __name__ == "__main__":
    main()
