"""The published recipe, `--preset paper`, over as many of its 300 epochs as the time allows.

1440 generated pictures for training and 360 for testing, as NEU-CLS has; the default encoder
as teacher, bf16. The run is stopped when the time is nearly over, so that its learning rate is that
of a run over 300 epochs. Then the nearest class mean at 1 and 4 labels per class, 10 draws, on the
weights of every few epochs (inductive; generated pictures, so these figures compare epochs with
each other and with the teacher, and say nothing of real steel).
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.gpu.section import Section, generate, losses, run, terminated_when
from cvgssl.encoders.backbone import build_backbone
from cvgssl.encoders.forward import forward_all
from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.encoders.loading import load_encoders
from cvgssl.encoders.pretrained import load_pretrained
from cvgssl.heads.metrics import mean_interval
from cvgssl.images.geometry import Geometry
from cvgssl.images.scan import load_dataset
from cvgssl.images.store import LoadedDataset, load_dataset_pictures
from cvgssl.pretrain.checkpoint import checkpoints
from cvgssl.runtime.launch import launch
from recipes.frozen_heads import OnStored, score

EVALUATED = 8  # checkpoints, at most
FOR_EVALUATION = 70.0  # seconds kept for them


def main(section: Section) -> None:
    """Train until there is just time enough for the heads, then run them."""
    tiny = section.tiny
    data = generate(section.work / "steel", 5 if tiny else 300, tiny, test_fraction=0.2)
    out = section.work / "run"
    words: list[object] = ["pretrain", data, "--preset", "paper", "--teacher", _teacher(tiny)]
    words += ["--save-freq", 1 if tiny else 3, "--keep", 1000, "--out", out]
    if tiny:
        words += [
            "--view-size",
            32,
            "--image-size",
            32,
            "--batch-size",
            12,
            "--arch",
            "test_resnet",
            "--mlp-dim",
            32,
            "--out-dim",
            16,
            "--runtime",  # on the CPU too, where it is only tried
            "torch",
        ]
    else:
        words += ["--precision", "bf16"]
    begun = time.monotonic()

    def over() -> bool:
        if tiny:
            return len(checkpoints(out)) >= 2
        return section.left() < FOR_EVALUATION and len(checkpoints(out)) >= 1

    with terminated_when(over):
        run(*words)
    seconds = time.monotonic() - begun
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = sorted(row["views_per_second"] for row in rows)
    section.put(
        "training",
        {
            "epochs": len(rows),
            "seconds": seconds,
            "views per second": rates[len(rates) // 2],
            "loss": losses(rows),
        },
    )
    _heads(section, data, out)


def _teacher(tiny: bool) -> str:
    return f"{INSTALLED},image_size=32" if tiny else INSTALLED


def _heads(section: Section, data: Path, out: Path) -> None:
    """The teacher, random weights, and checkpoints spread over the training, the last one among."""
    size, arch = (32, "test_resnet") if section.tiny else (224, "resnet18")
    dataset = load_dataset(data)
    accelerator = launch()  # fp32
    loaded = load_dataset_pictures(dataset, Geometry(size))
    (teacher,) = load_encoders([_teacher(section.tiny)])
    section.put("teacher", _macro_recall(OnStored(teacher), loaded, accelerator))
    torch.manual_seed(0)
    backbone = build_backbone(arch, size)
    section.put("epoch 0", _macro_recall(backbone, loaded, accelerator))
    found = checkpoints(out)
    step = -(-len(found) // EVALUATED)
    for path in found[::-1][::step][::-1]:
        load_pretrained(backbone, path)
        epoch = int(path.name.removeprefix("checkpoint_").partition(".")[0])
        section.put(f"epoch {epoch}", _macro_recall(backbone, loaded, accelerator))


def _macro_recall(
    encoder: nn.Module, loaded: LoadedDataset, accelerator: Accelerator
) -> dict[str, Any]:
    """Nearest class mean at 1 and 4 labels: mean and 95 % interval over the draws, per cent."""
    encoder.to(accelerator.device)
    train, test = (
        forward_all(encoder, part.pixels, 64, accelerator).cpu()
        for part in (loaded.train, loaded.test)
    )
    shots = [1, min(4, len(loaded.train) // 6)]
    (found,) = score(train, test, loaded.dataset, shots, 10, "nearest class mean").values()
    spreads = {shot: mean_interval(values) for shot, values in found.items()}
    return {f"{shot} label(s)": [s.mean, s.ci95] for shot, s in spreads.items()}
