"""Run folders to one Markdown table and one JSON file.

    python recipes/collect.py OUT --json docs/results/few_shot_real.json
    python recipes/collect.py --json docs/results/few_shot_real.json              (table alone)

Every row is one finished run folder below OUT, with its setting; unfinished ones are named on
stderr and left out. Rows that the JSON file has already stay unless they were measured again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cvgssl.runtime.files import write_json

COLUMNS = [
    "data",
    "method",
    "starts from",
    "labels per class",
    "accuracy",
    "macro-recall",
    "best on test (optimistic)",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", help="folder that holds the run folders")
    parser.add_argument("--json", type=Path, help="write the summaries here")
    args = parser.parse_args()
    configs = args.out.glob("*/config.yaml") if args.out else []
    folders = sorted(path.parent for path in configs)
    known = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    cells = {key(summary): summary for summary in known}
    for folder in folders:
        if (folder / "summary.json").exists():
            summary = read(folder)
            cells[key(summary)] = summary
        else:
            print(f"{folder}: not finished, left out", file=sys.stderr)
    summaries = [cells[place] for place in sorted(cells)]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for summary in summaries:
        print(f"| {' | '.join(row(summary))} |")
    if args.json and folders:
        write_json(args.json, summaries)


def key(summary: dict[str, Any]) -> tuple[str, str, str, bool, int]:
    """What makes a row: data, method, network, whether from scratch, shot."""
    names = summary["data"], summary["mode"], summary["arch"]
    return *names, not summary["pretrained"], summary["shot"]


def read(folder: Path) -> dict[str, Any]:
    """A run's summary with the command and versions that made it; no paths of the machine."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    summary["data"] = Path(summary["data"]).name
    summary["packages"] = environment["packages"]
    summary["pictures_sha256"] = environment["pictures_sha256"]
    return dict(summary)


def row(summary: dict[str, Any]) -> list[str]:
    last, best = summary["last_epoch"], summary["best_on_test"]
    hashed = (summary["pretrained_sha256"] or "")[:8]
    start = f"ImageNet ({hashed})" if hashed else "random weights"
    names = {"vit_tiny_patch16_224": "ViT-Tiny"}
    method = f"{summary['mode']}, {names.get(summary['arch'], summary['arch'])}"
    figures = [shown(last["accuracy"]), shown(last["macro_recall"]), shown(best)]
    return [summary["data"], method, start, str(summary["shot"]), *figures]


def shown(spread: dict[str, float]) -> str:
    """Mean, half width of the 95 % interval, standard deviation."""
    return f"{spread['mean']:.1f} ± {spread['ci95']:.1f} ({spread['std']:.1f})"


if __name__ == "__main__":
    main()
