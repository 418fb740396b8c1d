"""A part of train/ as test pictures: for choosing settings while test/ stays unread.

    python recipes/hold_out.py X-SDD OUT/X-SDD

OUT/X-SDD is a data folder of its own: its test/ is the last quarter of every class of train/ in
the order of file names, so that neighbours in number, which are often twins, are not on both
sides; its train/ is the rest. DATA's own test/ is not read.
"""

import argparse
import shutil
from pathlib import Path

from cvgssl.images.scan import load_dataset
from cvgssl.runtime.run import new_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    train = load_dataset(args.data).train
    with new_folder(args.out, "OUT") as folder:
        for label, name in enumerate(train.classes):
            files = sorted(
                path for path, one in zip(train.paths, train.labels, strict=True) if one == label
            )
            known = len(files) - len(files) // 4
            for place, file in enumerate(files):
                split = folder / ("train" if place < known else "test") / name
                split.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, split / file.name)


if __name__ == "__main__":
    main()
