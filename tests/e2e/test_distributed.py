"""Two processes give the result of one, to rounding, and only the first writes files."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ends_itself import AT_LINE, MAIN

# the -- keeps torchrun from taking our --n for one of its own options
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
Run = Callable[..., Path]
OPTIONS = ["--shot", "3", "--num-draws", "2", "--epochs", "2", "--batch-size", "11", "--lr", "0.01"]
OPTIONS += ["--image-size", "32", "--eval-batch-size", "4", "--seed", "3"]
WEIGHTS = ["--arch", "test_vit", "--pretrained", "FILE"]


@pytest.fixture
def run(python: str) -> Run:
    def call(mode: str, data: Path, out: Path, processes: int, *options: str) -> Path:
        program = [python, "-m", "cvgssl"]
        if processes > 1:
            program = [python, *TORCHRUN, f"--nproc-per-node={processes}", "-m", "--", "cvgssl"]
        words = [*program, mode, str(data), *OPTIONS, *options, "--out", str(out)]
        own = os.environ | {"CVGSSL_CACHE": str(out) + "_cache"}  # features are computed by each
        done = subprocess.run(words, capture_output=True, text=True, env=own)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("[Run 1] Epoch [1/2] Train") == 1, "more than one process printed"
        return out

    return call


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        # batch norm over both processes' pictures, averaged weights, augmentation
        ("finetune", ["--arch", "test_resnet", "--augment", "--ema", "0.9"]),
        ("finetune", ["--arch", "test_vit"]),
        ("finetune", [*WEIGHTS, "--trainable", "lora:2", "--pseudo-labels"]),
        ("linear", ["--arch", "test_resnet"]),
    ],
)
def test_two_processes_give_the_result_of_one(
    mode: str, options: list[str], steel: Path, teacher_file: Path, tmp_path: Path, run: Run
) -> None:
    options = [str(teacher_file) if word == "FILE" else word for word in options]
    one = run(mode, steel, tmp_path / "one", 1, *options)
    two = run(mode, steel, tmp_path / "two", 2, *options)

    assert len(rows(one)) == len(rows(two)) == 4
    for single, double in zip(rows(one), rows(two), strict=True):
        assert double == pytest.approx(single, rel=2e-3)
    summary = json.loads((two / "summary.json").read_text())
    assert summary["processes"] == 2
    pictures = sum(map(sum, summary["last_epoch"]["confusion"]))
    assert pictures == 2 * summary["test_pictures"] == 36, "every test picture once in each draw"
    written = {path.relative_to(two).as_posix() for path in two.rglob("*") if path.is_file()}
    alone = {path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()}
    assert written == alone


def test_more_processes_than_pictures_in_a_batch(steel: Path, tmp_path: Path, python: str) -> None:
    words = ["finetune", str(steel), "--arch", "test_vit", "--image-size", "32", "--shot", "3"]
    words += ["--batch-size", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [python, *TORCHRUN, "--nproc-per-node=2", "-m", "--", "cvgssl", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    message = "--batch-size 1: 2 processes need a picture each; take at least 2"
    assert done.stderr.count(message) == 1


def test_a_stop_is_noticed_while_features_are_computed(
    steel: Path, tmp_path: Path, python: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    words = [
        "linear",
        str(steel),
        *OPTIONS,
        "--arch",
        "test_resnet",
        "--out",
        str(tmp_path / "run"),
    ]
    asked = ["-c", AT_LINE + MAIN, "data:", str(int(signal.SIGTERM))]  # before the features
    processes = []
    for rank, program in enumerate((asked, ["-m", "cvgssl"])):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        place |= {"CVGSSL_CACHE": str(tmp_path / "cache")}
        processes.append(subprocess.Popen([python, *program, *words], env=os.environ | place))
    assert [process.wait() for process in processes] == [143, 143]
    assert not (tmp_path / "run/metrics.jsonl").exists(), "no epoch was trained before"
