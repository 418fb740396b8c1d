"""Where the time of embedding goes: decoding, resizing, the network, waiting for pictures.

    python benchmarks/overlap.py --small 2000 --large 40 --json overlap.json

Writes pictures of 200 x 200 and of 4096 x 3000 pixels, as PNG and as JPEG, to a temporary folder
and embeds each kind with the default encoder, after the network has been compiled. `wall`: seconds
of all. `network`, `waiting`: of these, what the caller computes, and what it waits for squares.
`decoding`, `resizing`: processor seconds of the decoding threads. `only decoding`: seconds for the
same pictures without a network. Where decoding and network overlap, `wall` is less than
`only decoding` and `network` together, as far as there are cores for both.
"""

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.built_encoder import BuiltEncoder
from cvgssl.features.config import EmbedConfig
from cvgssl.features.encoder import JointEncoder, Networks
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.reading import Reading
from cvgssl.images import decoding
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import launch

SIZES = {"small": (200, 200), "large": (3000, 4096)}
spent: Counter[str] = Counter()
lock = threading.Lock()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=2000, help="pictures of 200 x 200")
    parser.add_argument("--large", type=int, default=40, help="pictures of 4096 x 3000")
    parser.add_argument("--encoder", default=INSTALLED)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    decoding._square = timed("decoding", decoding._square)
    decoding._finished = timed("resizing", decoding._finished)
    kinds: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            for ending in ("png", "jpg"):
                count = getattr(args, name)
                kind = f"{name} {ending}"
                paths = write_pictures(Path(folder) / kind, count, size, ending)
                kinds[kind] = {"pictures": count} | profile(paths, args.encoder)
                print(kind, kinds[kind], flush=True)
    if args.json:
        write_json(
            args.json,
            {"encoder": args.encoder.rsplit("/", 1)[-1], "hardware": hardware(), "kinds": kinds},
        )


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with its processor seconds in `spent`."""

    def call(*words: Any, **named: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*words, **named)
        finally:
            with lock:
                spent[name] += time.thread_time() - start

    return call


def write_pictures(folder: Path, count: int, size: tuple[int, int], ending: str) -> list[Path]:
    """Gray plates with grain and a few scratches; each differs."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    grain = generator.normal(128, 12, size)
    paths = []
    for number in range(count):
        pixels = np.roll(grain, (number, 7 * number), (0, 1))
        row = int(generator.integers(size[0] - 3))
        pixels[row : row + 3] += 60
        paths.append(folder / f"{number}.{ending}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def profile(paths: list[Path], encoder: str) -> dict[str, float]:
    config = EmbedConfig(data=paths[0].parent, encoder=(encoder,))
    (request,) = requested_encoders(config)
    joint = JointEncoder([Networks().load(request)])
    embedder = BuiltEncoder(joint, launch())
    reading = Reading(paths, [joint.geometry], config)
    start = time.perf_counter()
    for _ in reading.batches(lambda _: None):
        pass
    only = time.perf_counter() - start
    spent.clear()
    network, start = 0.0, time.perf_counter()
    for batch in Reading(paths, [joint.geometry], config).batches(lambda _: None):
        begun = time.perf_counter()
        embedder(batch.squares[0])
        network += time.perf_counter() - begun
    wall = time.perf_counter() - start
    figures = {
        "wall": wall,
        "network": network,
        "waiting": wall - network,
        "decoding": spent["decoding"] - spent["resizing"],
        "resizing": spent["resizing"],
        "only decoding": only,
    }
    return {name: round(value, 2) for name, value in figures.items()}


if __name__ == "__main__":
    main()
