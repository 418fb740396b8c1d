"""Results of pretrain_real.sh to Markdown tables and one JSON file.

    python recipes/collect_pretrain.py OUT --json docs/results/pretrain_real.json
    python recipes/collect_pretrain.py --json docs/results/pretrain_real.json     (tables alone)

Rows are encoders, columns heads and shots: macro-recall ± half width of the 95 % interval, and in
brackets the paired difference to the teacher on the same draws. A last table has the paired
differences of PAIRS. Rows that the JSON file has already stay unless they were measured again;
without OUT the file stays as it is. Rows are called as in pretrain_names.py.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pretrain_names import title

from cvgssl.heads.metrics import mean_interval
from cvgssl.runtime.files import write_json

HEADS = {"nearest class mean": "NCM", "logistic regression": "LR"}
PAIRS = (  # what is compared with what
    ("spectral", "simclr"),
    ("spectral-two-teachers", "spectral"),
    ("published-two-teachers", "published"),
    ("published-margin", "published"),
    ("published-none", "published"),
    ("relational-bank-1", "relational-no-bank"),
    ("relational", "relational-no-bank"),
    ("deep", "spectral"),
    ("spectral-14-epochs", "paper"),
)
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    known = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    new = sorted(args.out.glob("*.json")) if args.out else []
    found = known | {path.stem: read(args.out, path) for path in new}
    for data in sorted({result["data"] for result in found.values()}):
        rows = {name: result for name, result in found.items() if result["data"] == data}
        print(f"\n**{data}**, macro-recall, inductive\n")
        print(table(data, rows))
    print("\n**Paired differences, nearest class mean**\n")
    print(differences(found))
    if args.json and new:
        write_json(args.json, found)


def read(out: Path, path: Path) -> Result:
    """A result with the options, losses and seconds of the run that made the encoder."""
    result: Result = json.loads(path.read_text())
    run = out / path.stem
    if (run / "summary.json").exists():
        summary = json.loads((run / "summary.json").read_text())
        names = ("builder", "guidance", "teachers", "epochs", "steps", "precision", "seconds")
        names += ("processor_seconds", "guide_seconds", "hardware")
        result["run"] = {name: summary[name] for name in names if name in summary}
    return result


def table(data: str, rows: dict[str, Result]) -> str:
    shots = list(next(iter(rows.values()))["macro_recall"]["nearest class mean"])
    columns = [f"{short} {shot}" for short in HEADS.values() for shot in shots]
    lines = ["| encoder | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    teacher = rows.get(f"{data}_teacher")
    for name, result in sorted(rows.items(), key=lambda row: -first(row[1])):
        cells = []
        for head in HEADS:
            for shot in shots:
                values = result["macro_recall"][head][shot]
                cell = show(values)
                if teacher is not None and result is not teacher:
                    base = teacher["macro_recall"][head][shot]
                    gain = mean_interval([a - b for a, b in zip(values, base, strict=True)])
                    cell += f" ({gain.mean:+.1f} ± {gain.ci95:.1f})"
                cells.append(cell)
        lines.append(f"| {title(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(found: dict[str, Result]) -> str:
    """A row per pair; a column per data set and shot, empty where a cell was not measured."""
    sets = sorted({result["data"] for result in found.values()})
    shots = list(next(iter(found.values()))["macro_recall"]["nearest class mean"])
    columns = [f"{data} {shot}" for data in sets for shot in shots]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, base in PAIRS:
        cells = []
        for data in sets:
            pair = [f"{data}_{one}" for one in (name, base)]
            if not set(pair) <= set(found):
                cells += [""] * len(shots)
                continue
            one, other = (found[key]["macro_recall"]["nearest class mean"] for key in pair)
            for shot in shots:
                gain = mean_interval([a - b for a, b in zip(one[shot], other[shot], strict=True)])
                cells.append(f"{gain.mean:+.1f} ± {gain.ci95:.1f}")
        lines.append(
            f"| {title(f'_{name}')} over {title(f'_{base}')} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def first(result: Result) -> float:
    shots = result["macro_recall"]["nearest class mean"]
    return mean_interval(next(iter(shots.values()))).mean


def show(values: list[float]) -> str:
    found = mean_interval(values)
    return f"{found.mean:.1f} ± {found.ci95:.1f}"


if __name__ == "__main__":
    main()
