"""What teachers cost in an epoch: run again each time, read from the view bank, or left out.

    python benchmarks/bank.py DATA [--arch resnet18] [--view-size 96] [--json bank.json]
    python benchmarks/bank.py DATA --precision bf16 --view-size 224 --strong 4 --batch-size 256 \\
        --teacher RN50=random ViT-B/32=random ViT-B/16=random         (on a GPU)

Teachers have random weights, which costs the same. Every job is `cvgssl pretrain` in a process of
its own, in turns; its speed is the median over epochs of the views/s in metrics.jsonl, so neither
start-up nor the building of the bank counts (that is printed by itself). `simsiam` is the loop
without teachers: the same views, each once through backbone, projector and predictor.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

TEACHERS = ["vit_tiny_patch16_224=random", "torchvision:squeezenet1_1=random"]
JOBS = {
    "no teachers": ["--builder", "simsiam"],
    "published, bank": ["--guidance", "published", "--bank", "4"],
    "relational, bank": ["--guidance", "relational", "--bank", "4"],
    "spectral": ["--guidance", "spectral", "--bank", "4"],
    "published, no bank": ["--guidance", "published", "--bank", "off"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--teacher", nargs="+", default=TEACHERS)
    parser.add_argument("--view-size", type=int, default=96)
    parser.add_argument("--strong", type=int, default=2, help="strong views of each picture")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    speeds: dict[str, list[float]] = {name: [] for name in JOBS}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds):
            for name, options in JOBS.items():
                out = Path(folder) / f"{turn}-{name.replace(' ', '-')}"
                speed, built = run(args, options, out, Path(folder) / "bank")
                speeds[name].append(speed)
                seconds.setdefault(name, built)
                print(f"{name}: {speed:.1f} views/s", flush=True)
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    base = middle["no teachers"]
    result = {
        "data": args.data.name,
        "arch": args.arch,
        "teachers": args.teacher,
        "view_size": args.view_size,
        "strong_views": args.strong,
        "hardware": hardware(),
        "views_per_second": speeds,
        "seconds_for_the_bank": {name: seconds[name] for name in JOBS if "bank" in name},
        "epoch over one without teachers": {name: base / speed for name, speed in middle.items()},
    }
    for name, ratio in result["epoch over one without teachers"].items():
        print(f"{name:<20} {middle[name]:8.1f} views/s   epoch {ratio:.2f} times")
    if args.json:
        write_json(args.json, result)


def run(args: argparse.Namespace, options: list[str], out: Path, bank: Path) -> tuple[float, float]:
    """Median views/s over the epochs, and the seconds spent on the bank."""
    kinds = args.strong
    words = ["pretrain", str(args.data), "--arch", args.arch, "--precision", args.precision]
    words += ["--image-size", str(args.view_size), "--view-size", str(args.view_size)]
    words += ["--nmb-crops", *["1"] * kinds, "--min-scale-crops", *["0.2"] * kinds]
    words += ["--max-scale-crops", *["1"] * kinds, "--batch-size", str(args.batch_size)]
    words += ["--epochs", str(args.epochs), "--warmup-epochs", "1", "--lr", "0.01"]
    words += ["--monitor-every", str(args.epochs), "--out", str(out), *options]
    if "simsiam" not in options:
        words += ["--teacher", *args.teacher, "--bank-dir", str(bank)]
    subprocess.run([sys.executable, "-m", "cvgssl", *words], check=True, capture_output=True)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    return statistics.median(row["views_per_second"] for row in rows), summary["guide_seconds"]


if __name__ == "__main__":
    main()
