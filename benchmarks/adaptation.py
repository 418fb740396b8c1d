"""cvgssl's linear evaluation and fine-tuning against the published recipe as a plain loop.

    python benchmarks/adaptation.py DATA --json results.json

Runs both programs as separate processes, in turns, and prints the ratio of medians. The plain
loop's whole job takes hours, so its time is extrapolated from a few measured epochs; cvgssl's jobs
are run whole, start-up included. Accuracy is compared on a shortened job that both run whole.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

PLAIN = Path(__file__).with_name("plain_recipe.py")
EPOCHS, RUNS = 100, 5
SHORT = ["--epochs", "8", "--num-draws", "2", "--lr", "0.03"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each program")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    result = {"data": args.data.name, "arch": args.arch, "hardware": hardware()}
    measures = {"linear": linear, "finetune": finetune, "same accuracy": same_accuracy}
    for name, measure in measures.items():
        result[name] = measure(args)
        print(f"{name}: {json.dumps(result[name])}", flush=True)
    if args.json:
        write_json(args.json, result)


def linear(args: argparse.Namespace) -> dict[str, Any]:
    """The whole job, 5 runs of 100 epochs with a look at test/ after each."""
    ours, plain = [], []
    for _ in range(args.rounds):
        ours.append(cvgssl(args, "linear", "--num-draws", str(RUNS))[0])
        plain.append(plain_epoch(args, "linear") * EPOCHS * RUNS)
    return ratio(ours, plain, "seconds of the job")


def finetune(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per epoch with a look at test/ after each, and the job with one every 10 epochs."""
    ours, job, plain = [], [], []
    for _ in range(args.rounds):
        short = cvgssl(args, "finetune", "--num-draws", "1", "--epochs", "1")[0]
        long = cvgssl(args, "finetune", "--num-draws", "1", "--epochs", "4")[0]
        ours.append((long - short) / 3)
        rare = cvgssl(args, "finetune", "--num-draws", "1", "--epochs", "10", "--eval-every", "10")[
            0
        ]
        job.append((rare - short + ours[-1]) / 10)  # ten epochs and one look, without start-up
        plain.append(plain_epoch(args, "finetune"))
    return {
        "each epoch": ratio(ours, plain, "seconds per epoch"),
        "eval-every 10": ratio(job, plain, "seconds per epoch"),
    }


def same_accuracy(args: argparse.Namespace) -> dict[str, Any]:
    """Last-epoch accuracy of both programs, run by run, per cent."""
    _, summary = cvgssl(args, "linear", *SHORT)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "plain.json"
        run_plain(args, "linear", *SHORT, "--json", str(output))
        plain = json.loads(output.read_text())["final_accuracy"]
    return {"ours": [each["accuracy"] for each in summary["last_epoch"]["by_draw"]], "plain": plain}


def cvgssl(args: argparse.Namespace, mode: str, *options: str) -> tuple[float, dict[str, Any]]:
    """Wall seconds of the command, start-up included, and its summary."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [mode, str(args.data), "--arch", args.arch, "--shot", "4", "--out", str(out)]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "cvgssl", *words, *options], check=True, capture_output=True
        )
        seconds = time.perf_counter() - start
        return seconds, json.loads((out / "summary.json").read_text())


def plain_epoch(args: argparse.Namespace, mode: str) -> float:
    """Median seconds of three epochs of the plain loop, start-up not included."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "plain.json"
        run_plain(args, mode, "--limit-epochs", "3", "--json", str(output))
        return float(json.loads(output.read_text())["median_epoch_seconds"])


def run_plain(args: argparse.Namespace, mode: str, *options: str) -> None:
    words = [str(args.data), "--mode", mode, "--arch", args.arch, "--shot", "4", *options]
    subprocess.run([sys.executable, str(PLAIN), *words], check=True, capture_output=True)


def ratio(ours: list[float], plain: list[float], unit: str) -> dict[str, Any]:
    times = statistics.median(plain) / statistics.median(ours)
    return {"unit": unit, "ours": ours, "plain": plain, "times faster": times}


if __name__ == "__main__":
    main()
