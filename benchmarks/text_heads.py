"""What texts of any worth do to the heads that read them; the texts are made up, no CLIP is used.

    python benchmarks/text_heads.py NEU-CLS.npz --draws 20 --json results.json

Train pictures of a features file alone, divided by name: labels come from the first 60 % of each
class, the last quarter is asked. A class's text is a direction that all share (texts lie apart from
pictures), plus noise, plus `worth` times the direction from all pictures to the class; worth 0 says
nothing. Prints the macro-recall of each head by worth and shot.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import ALL_HEADS, TEXT_HEADS
from cvgssl.heads.base import unit
from cvgssl.runtime.files import write_json

HEADS = ("zero-shot", "text-tip", "text-ridge", "kernel-ridge")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, help="features file of `cvgssl embed`")
    parser.add_argument("--worth", nargs="+", type=float, default=[0, 0.15, 0.3, 1])
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    table = load_features(args.features).split("train")
    print(f"{'worth':>6} {'shot':>4} " + " ".join(f"{name:>12}" for name in HEADS))
    rows = []
    for worth in args.worth:
        for shot in args.shots:
            found = np.mean([recalls(table, worth, shot, draw) for draw in range(args.draws)], 0)
            rows.append([worth, shot, *found.tolist()])
            print(f"{worth:6} {shot:4} " + " ".join(f"{value:12.1f}" for value in found))
    if args.json:
        facts = {"features": args.features.name, "draws": args.draws}
        write_json(args.json, facts | {"columns": ["worth", "shot", *HEADS], "rows": rows})


def recalls(table: FeatureTable, worth: float, shot: int, draw: int) -> list[float]:
    """Macro-recall of each of `HEADS`, per cent."""
    generator = np.random.default_rng(draw)
    pictures = unit(table.values.astype(np.float64))
    ordered = [by_number(table, label) for label in range(len(table.classes))]
    known = [rows[: int(0.6 * len(rows))] for rows in ordered]
    asked = np.concatenate([rows[int(0.75 * len(rows)) :] for rows in ordered])
    centre = pictures[np.concatenate(known)].mean(axis=0)
    meant = unit(np.stack([pictures[rows].mean(axis=0) for rows in known]) - centre)
    noise = unit(generator.standard_normal(meant.shape))
    shared = unit(generator.standard_normal((1, meant.shape[1])))
    anchors = unit(shared + 0.3 * (worth * meant + noise))
    support = np.concatenate([generator.permutation(rows)[:shot] for rows in known])
    found = []
    for name in HEADS:
        texts = {"anchors": anchors} if name in TEXT_HEADS else {}
        head = ALL_HEADS[name](**texts).fit(pictures[support], table.labels[support])
        right = head.predict(pictures[asked]) == table.labels[asked]
        found.append(
            100 * np.mean([right[table.labels[asked] == k].mean() for k in range(len(known))])
        )
    return found


def by_number(table: FeatureTable, label: int) -> np.ndarray:
    """Rows of a class, in the order of the numbers in their names: neighbours may be twins."""
    rows = np.flatnonzero(table.labels == label)
    keys = [
        [int(one) if one.isdigit() else one for one in re.split(r"(\d+)", table.names[row])]
        for row in rows
    ]
    return rows[sorted(range(len(rows)), key=keys.__getitem__)]


if __name__ == "__main__":
    main()
