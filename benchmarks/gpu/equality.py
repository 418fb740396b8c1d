"""Does a GPU train what the CPU trains? The first ten steps of every kind of training, in fp32.

Every job runs as a command on the CPU (twice, with different numbers of threads), and twice on the
GPU, with TF32 off. Rounding grows from step to step; how much of a difference is rounding shows in
that between the two runs on the CPU. Where a job has stored embeddings (spectral), those of the CPU
guide on both; the GPU's own are compared with them by themselves.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.gpu.section import Section, finish, generate, losses, run

Words = list[str]
TURNS = ("gpu", "gpu again")


def jobs(tiny: bool) -> dict[str, Words]:
    """Ten steps each: five epochs of two batches, or ten epochs of one; fewer if `tiny`."""
    side, epochs, batch = ("32", 1, "6") if tiny else ("96", 5, "12")
    towers = ["test_vit,image_size=32=random", "test_resnet,image_size=32=random"]
    towers = towers if tiny else ["RN50=random", "ViT-B/32=random"]
    arch = "test_resnet" if tiny else "resnet18"
    pretrain = ["pretrain", "DATA", "--arch", arch, "--image-size", side, "--view-size", side]
    pretrain += ["--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1"]
    pretrain += [
        "--epochs",
        str(epochs),
        "--warmup-epochs",
        "0",
        "--batch-size",
        batch,
        "--lr",
        "0.03",
    ]
    pretrain += ["--print-freq", "1"]
    pretrain += ["--mlp-dim", "32", "--out-dim", "16"] if tiny else []
    guided = [
        *pretrain,
        "--teacher",
        *towers,
        "--runtime",
        "torch",
        "--bank-dir",
        "BANK",
        "--guidance",
    ]
    adapt = ["DATA", "--arch", arch, "--image-size", side, "--shot", "2", "--num-draws", "1"]
    adapt += ["--epochs", str(2 * epochs), "--lr", "0.01"]
    return {
        "spectral": [*guided, "spectral", "--bank", "2"],
        "published": [*guided, "published", "--bank", "off"],
        "mocov3": [*pretrain, "--builder", "mocov3"],
        "finetune": ["finetune", *adapt],
        "linear": ["linear", *adapt],
    }


def run_jobs(data: Path, out: Path, bank: Path, tiny: bool, only: str = "") -> None:
    """All jobs (or one) on this process's device, each into a folder of its own in `out`."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for name, words in jobs(tiny).items():
        if only not in ("", name):
            continue
        places = {"DATA": str(data), "BANK": str(bank)}
        run(*[places.get(word, word) for word in words], "--out", out / name)
    finish()


def main(section: Section) -> None:
    """The CPU's runs beside the GPU's own embeddings, then job by job."""
    work, tiny, cores = section.work, section.tiny, len(os.sched_getaffinity(0))
    data = generate(work / "data", 4 if tiny else 8, tiny)
    threads = {"cpu": max(1, cores // 2), "cpu, other threads": max(1, cores // 4)}
    cpu = [
        _on_cpu(data, work / name, work / "bank" / name, count, tiny)
        for name, count in threads.items()
    ]
    run_jobs(data, work / "own", work / "bank" / "own", tiny, only="spectral")
    names = list(jobs(tiny))
    for name in names[1:]:  # these need no stored embeddings, and the CPU is slower
        for turn in TURNS:
            run_jobs(data, work / turn, work / "bank" / turn, tiny, only=name)
    for process in cpu:
        if process.wait():
            raise RuntimeError("the jobs on the CPU failed, see above")
    section.put("stored embeddings", _banks(work / "bank" / "cpu", work / "bank" / "own"))
    for turn in TURNS:
        # the map is of the CPU's embeddings: eigenvectors would make much of a little rounding
        shutil.copytree(work / "bank" / "cpu", work / "bank" / turn, dirs_exist_ok=True)
        run_jobs(data, work / turn, work / "bank" / turn, tiny, only=names[0])
    for name in names:
        base = work / "cpu" / name
        row = {
            "gpu": difference(base, work / "gpu" / name),
            "cpu, other threads": difference(base, work / "cpu, other threads" / name),
            "repeated on the gpu": difference(work / "gpu" / name, work / "gpu again" / name),
        }
        section.put(name, row)


def _on_cpu(data: Path, out: Path, bank: Path, threads: int, tiny: bool) -> subprocess.Popen[bytes]:
    """Begin the same jobs in a process that sees no GPU."""
    program = (
        "import sys, pathlib; from benchmarks.gpu.equality import run_jobs; "
        "run_jobs(*map(pathlib.Path, sys.argv[1:4]), sys.argv[4] == 'True')"
    )
    words = [sys.executable, "-c", program, data, out, bank, str(tiny)]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(words, env=os.environ | hidden, stdout=subprocess.DEVNULL)


def difference(one: Path, other: Path) -> dict[str, Any]:
    """Between two runs: of the losses, relative, first epoch and worst; of the weights.

    weights: norm of the difference over the norm, of all floating-point tensors together.
    """
    first, second = (np.array(losses(_rows(folder))) for folder in (one, other))
    relative = np.abs(second - first) / np.abs(first)
    weights, others = _weights(one), _weights(other)
    gap = sum(float((weights[n] - others[n]).double().square().sum()) for n in weights)
    norm = sum(float(value.double().square().sum()) for value in weights.values())
    return {
        "first loss": float(relative[0]),
        "worst loss": float(relative.max()),
        "weights": (gap / norm) ** 0.5,
        "identical": all(torch.equal(weights[name], others[name]) for name in weights),
    }


def _rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _weights(folder: Path) -> dict[str, Tensor]:
    places = [folder / "backbone.safetensors", folder / "weights" / "draw_1.safetensors"]
    (path,) = [place for place in places if place.exists()]
    tensors: dict[str, Tensor] = load_file(path)
    return {name: value for name, value in tensors.items() if value.is_floating_point()}


def _banks(one: Path, other: Path) -> dict[str, Any]:
    """Largest difference of stored embeddings, over the largest number; float16 has 5e-4."""
    files = sorted(path.relative_to(one) for path in one.rglob("*.npy"))
    assert files == sorted(path.relative_to(other) for path in other.rglob("*.npy")) != []
    worst = 0.0
    for file in files:
        first, second = (np.load(place / file).astype(np.float64) for place in (one, other))
        worst = max(worst, float(np.abs(first - second).max() / np.abs(first).max()))
    return {"worst difference": worst, "encoders": len({file.parent for file in files})}
