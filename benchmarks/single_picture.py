"""A single picture by exported files, from its bytes on the disk to the answer: milliseconds.

    python benchmarks/single_picture.py NEU-CLS/test rec.onnx rec.xml --rounds 3 --json single.json

One process asks each file in turn about one picture after the other, as a line does; all cores.
The first answers, which warm up, are not counted. `processor ms` are of all threads.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from cvgssl.images.listing import list_pictures
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

WARM_UP = 10
WHITE = 255  # of pictures that were read with 8 bits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("files", type=Path, nargs="+", help="of `cvgssl export`")
    parser.add_argument("--count", type=int, default=120, help="pictures of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    paths = list_pictures(args.pictures)[: args.count]
    opened = {path.name: ExportedFile(path) for path in args.files}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in opened}
    for _ in range(args.rounds):
        for name, file in opened.items():
            for path in paths[:WARM_UP]:
                answered(file, path)
            times[name] += [answered(file, path) for path in paths]
    figures = {name: summary(times[name]) | {"program": opened[name].program} for name in opened}
    for name, values in figures.items():
        print(name, values)
    if args.json:
        about = {"data": args.pictures.name, "rounds": args.rounds, "hardware": hardware()}
        write_json(args.json, about | {"files": figures})


def answered(file: ExportedFile, path: Path) -> tuple[float, float]:
    """Seconds, and processor seconds, of reading and answering."""
    wall, own = time.perf_counter(), time.process_time()
    file(read_picture(path, 8), WHITE)
    return time.perf_counter() - wall, time.process_time() - own


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    """In milliseconds."""
    wall, own = 1000 * np.array(times).T
    return {
        "median ms": round(float(np.median(wall)), 1),
        "99 % within ms": round(float(np.quantile(wall, 0.99)), 1),
        "processor ms": round(float(np.median(own)), 1),
    }


if __name__ == "__main__":
    main()
