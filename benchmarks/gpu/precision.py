"""fp32, bf16 and fp16 beside each other over 50 steps, and whether a stopped run goes on as if not.

Each run is `cvgssl pretrain` with averaged weights (--ema) and gradient accumulation, one step to
an epoch, so that metrics.jsonl has every step's loss. In fp16 a scaler skips steps whose gradient
overflows; they are counted. A run of the same options is stopped by SIGTERM on the way and
resumed: are its weights those of the run that went through, and are those of a mere repetition?
Where a GPU's kernels add up in another order each time they are not, and then once more with
torch's deterministic algorithms.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.gpu.section import Section, device, generate, losses, run, terminated_when

WEIGHTS = ("backbone.safetensors", "backbone_ema.safetensors")


def main(section: Section) -> None:
    """The curves, then the interruption."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    steps = 6 if section.tiny else 50
    options = _options(section, steps)
    on_gpu = device().type == "cuda"
    first: list[float] = []
    for precision in ("fp32", "bf16", *(["fp16"] if on_gpu else [])):
        out = section.work / precision
        run(*options, "--precision", precision, "--out", out)
        rows = _rows(out)
        curve = losses(rows)
        first = first or curve
        row: dict[str, Any] = {"loss": curve}
        row["worst over fp32"] = max(abs(a - b) / b for a, b in zip(curve, first, strict=True))
        if precision == "fp16":
            row["skipped steps"] = rows[-1]["skipped_steps"]
        section.put(precision, row)
    precision = "fp16" if on_gpu else "fp32"
    options += ["--precision", precision]
    row = _interruption(section.work / "usual", options, section.work / precision)
    section.put(f"stopped and resumed, {precision}", row)
    if not row["a repetition is identical"]:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        through = section.work / "deterministic"
        run(*options, "--out", through)
        row = _interruption(section.work / "again", options, through)
        section.put(f"the same, {precision}, deterministic algorithms", row)


def _options(section: Section, steps: int) -> list[object]:
    per_class = 4 if section.tiny else 22
    data = generate(section.work / "data", per_class, section.tiny)
    batch = 3 * per_class  # all of train/: half of six classes
    side = 32 if section.tiny else 224
    words: list[object] = ["pretrain", data, "--guidance", "published", "--bank", "off"]
    words += ["--arch", "test_resnet" if section.tiny else "resnet18"]
    words += ["--mlp-dim", 32, "--out-dim", 16] if section.tiny else []
    words += ["--teacher", f"{'test_vit,image_size=32' if section.tiny else 'ViT-B/32'}=random"]
    words += ["--runtime", "torch"]  # on the CPU too, where it is only tried
    words += ["--image-size", side, "--view-size", side, "--batch-size", batch]
    words += ["--nmb-crops", 1, "--min-scale-crops", 0.2, "--max-scale-crops", 1]
    words += ["--epochs", steps, "--warmup-epochs", 2, "--lr", 0.05, "--print-freq", 1]
    return [*words, "--monitor-every", steps, "--save-freq", steps, "--ema", 0.9, "--accumulate", 2]


def _interruption(place: Path, options: list[object], through: Path) -> dict[str, Any]:
    """A repetition and a stopped run beside the one that went `through`."""
    repeated, stopped = place / "repeated", place / "stopped"
    run(*options, "--out", repeated)
    wanted = len(_rows(through)) // 3
    with terminated_when(lambda: len(_rows(stopped)) >= wanted):
        run(*options, "--out", stopped)
    after = len(_rows(stopped))
    assert not (stopped / "summary.json").exists(), "it ended before it was stopped"
    run("pretrain", "--resume", stopped)
    return {
        "stopped after step": after,
        "identical": _identical(through, stopped),
        "a repetition is identical": _identical(through, repeated),
    }


def _identical(one: Path, other: Path) -> bool:
    """Whether losses, weights and averaged weights are equal bit for bit."""
    pairs = [(load_file(one / name), load_file(other / name)) for name in WEIGHTS]
    same = all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)
    return same and losses(_rows(one)) == losses(_rows(other))


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Finished rows of a run's metrics.jsonl, which may not be there yet."""
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
