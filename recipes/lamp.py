"""The pictures of a plant under another lamp: darker, and darker on the left than on the right.

    python recipes/lamp.py PLANT PLANT-LAMP

Gray levels are multiplied by 0.7 at the left edge, rising to 0.95 at the right one. For
`station_month.py`.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from cvgssl.images.listing import list_pictures

LEFT, RIGHT = 0.7, 0.95


def main() -> None:
    """Write a copy of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plant", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for path in list_pictures(args.plant):
        pixels = np.asarray(Image.open(path).convert("L"), dtype=np.float64)
        pixels = pixels * np.linspace(LEFT, RIGHT, pixels.shape[1])
        target = args.out / path.relative_to(args.plant)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.round().astype(np.uint8)).save(target)


if __name__ == "__main__":
    main()
