"""A month of a line on which people label by the station: what labels bring, when changes show.

    cvgssl data synth PLANT --good-share 0.9 --defect-area 0.1 --parts 22000 --format png \\
        --test-fraction 0.01
    python recipes/lamp.py PLANT PLANT-LAMP
    cvgssl embed PLANT --out plant.npz
    cvgssl embed PLANT-LAMP --out plant-lamp.npz
    python recipes/station_month.py plant.npz plant-lamp.npz PLANT PLANT-LAMP --json out.json

The pool has 2000 pictures (two thirds where there are fewer than 3000), drawn for each of --repeat
runs; others arrive afterwards. An oracle labels; 2 % of its labels are wrong (any other class).
Test pictures of PLANT are not opened.

Labels: chosen as the station does (`medoids` in rounds of six), by one `cvgssl select` of as many
(a CSV that is filled in), or at random. The recognizer is the head of `cvgssl fit`, `auto`, without
mirror images. Figures: classes found, accuracy and macro-recall on the pictures that are not in the
pool, per cent, mean and half width of the 95 % interval (t over runs).

Month: one kind of defect (--new) is neither in the pool nor among the first pictures. It comes
after 60 % of the pictures that arrive, the lamp changes after 40 %. The recognizer says "unknown"
and "not sure" (`predict --unknown`), which asks a person for a label. Alarms are those of `predict
--watch --alarm`, one false alarm in 100,000 pictures. After the alarm of the lamp the preparation
is centred again, by the unlabelled pictures since the date that the alarm gives.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from station_arrivals import month
from station_labels import Floats, label_curves, summed

from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads.change_reference import light_of
from cvgssl.images.decoding import decode_bytes
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

MONTH_LABELS = (24, 96)


def main() -> None:
    """Run both parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name in ("features", "lamp_features", "plant", "lamp_plant"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="for the first part")
    parser.add_argument("--new", default="scratches")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--months", type=int, default=3, help="runs of the second part")
    parser.add_argument("--arrivals", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table, lamp = (
        load_features(path).split("train") for path in (args.features, args.lamp_features)
    )
    assert table.names == lamp.names, "the lamp's pictures are those of the plant"
    lights = [light_of_all(table, folder) for folder in (args.plant, args.lamp_plant)]
    curves: list[dict[str, Any]] = []
    months: list[dict[str, Any]] = []
    others = [load_features(path).split("train") for path in args.also]
    for run in range(args.repeat):
        for name, pictures in zip([args.features, *args.also], [table, *others], strict=True):
            for row in label_curves(pictures, run):
                curves.append({"pictures": name.stem} | row)
                print(*curves[-1].values(), flush=True)
        for count in MONTH_LABELS if run < args.months else ():
            months.append(month(table, lamp, lights, args, run, count))
            print(months[-1], flush=True)
        if args.json:  # after every run, for they take minutes
            write_json(args.json, result_of(curves, months, run + 1))
    for row in summed(curves):
        print(*row.values())


def result_of(
    curves: list[dict[str, Any]], months: list[dict[str, Any]], runs: int
) -> dict[str, Any]:
    """What is written."""
    return {"runs": runs, "labels": summed(curves), "months": months, "hardware": hardware()}


def light_of_all(table: FeatureTable, folder: Path) -> Floats:
    """`light_of` of every picture [N, 3]."""
    found = []
    for name in table.names:
        square = decode_bytes((folder / name).read_bytes(), Geometry(), 100, Path(name))
        assert square.pixels is not None, name
        found.append(light_of(square.pixels))
    return np.array(found)


if __name__ == "__main__":
    main()
