"""The tables of heads in docs/results/, from the table that `cvgssl bench` leaves.

    python recipes/bench_tables.py bench_real/tables/results.csv
    python recipes/bench_tables.py docs/results/heads_student.csv --encoder "pre-trained ViT-Tiny"

One table per encoder and setting: rows are heads, columns data sets and shots, cells macro-recall
on test/ ± half the 95 % interval, per cent.
"""

import argparse
import csv
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--encoder", help="what to call the encoder, if there is one alone")
    args = parser.parse_args()
    with args.results.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = {
        (row["encoder"], row["setting"], row["head"], row["data"], row["shot"]): (
            f"{float(row['macro_recall_mean']):.1f} ± {float(row['macro_recall_ci95']):.1f}"
        )
        for row in rows
    }
    sets = list(dict.fromkeys(row["data"] for row in rows))
    shots = list(dict.fromkeys(row["shot"] for row in rows))
    columns = [f"{data} {shot}" if shot == shots[0] else shot for data in sets for shot in shots]
    for encoder, setting in dict.fromkeys((row["encoder"], row["setting"]) for row in rows):
        print(f"\n**{args.encoder or encoder}, {setting}**\n\n| head | {' | '.join(columns)} |")
        print("|---" * (len(columns) + 1) + "|")
        for head in dict.fromkeys(row["head"] for row in rows):
            found = [cells[encoder, setting, head, data, shot] for data in sets for shot in shots]
            print(f"| `{head}` | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
