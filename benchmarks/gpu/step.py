"""The pre-training step at 224 px, five views, bf16: views/s, memory, is the GPU busy?

Students ResNet-50 and ViT-B/16 with batch 256, ResNet-18 with the presets' 64; teachers RN50,
ViT-B/32 and ViT-B/16 with random weights. The bank holds random numbers, which are as quick to
read. `spectral` has a map of all pictures instead of teachers in the loop. Where a batch does not
fit the memory, it is computed in parts (`--accumulate`), twice as many until it does, and the
student's later rows begin with as many.
"""

import gc
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.section import Section, device, finish
from benchmarks.gpu.trace import read_activity
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_encoders
from cvgssl.features.diffusion_map import map_width
from cvgssl.images.dataset import Pictures
from cvgssl.pretrain.bank import BLOCK, Bank
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.loop import PHASES, Loop, build_loop
from cvgssl.pretrain.methods.build import build_method
from cvgssl.pretrain.methods.registry import choose
from cvgssl.pretrain.student import student
from cvgssl.pretrain.targets import (
    BankTargets,
    MapTargets,
    NoTargets,
    TargetSource,
    TeacherTargets,
)
from cvgssl.pretrain.views import Views
from cvgssl.runtime.launch import launch

STEPS = 2  # per epoch: one epoch to warm up, two timed, one profiled
METHODS: dict[str, dict[str, Any]] = {
    "published, no bank": {"guidance": "published", "bank": 0},
    "published, bank of 8": {"guidance": "published", "bank": 8},
    "spectral": {"guidance": "spectral"},
    "mocov3, no teacher": {"builder": "mocov3"},
}


def main(section: Section) -> None:
    """Every method with every student."""
    tiny = section.tiny
    names = ["test_vit,image_size=32"] if tiny else ["RN50", "ViT-B/32", "ViT-B/16"]
    students = {"resnet18": 64, "resnet50": 256, "vit_base_patch16_224": 256}
    teachers = [t.to(device()) for t in load_encoders([f"{name}=random" for name in names])]
    for arch, batch in {"test_resnet": 4}.items() if tiny else students.items():
        shared: dict[str, Any] = {"arch": arch, "batch_size": batch, "precision": "bf16"}
        small = {"view_size": 32, "image_size": 32, "mlp_dim": 32, "out_dim": 16}
        if device().type == "cpu":  # on which it is only tried, and whose bf16 may be emulated
            small["precision"] = "fp32"
        shared |= small if tiny else {}
        accumulate, longest = 1, 1.0 if tiny else 8.0
        for name, options in METHODS.items():
            label = f"{arch}, batch {batch}, {name}"
            if not section.time_for(label, longest):
                continue
            begun = time.monotonic()
            config = PretrainConfig(
                data=Path("generated"), epochs=1000, **(shared | {"lr": 0.003} | options)
            )
            try:
                row = _in_parts(config, tuple(teachers), accumulate)
            except RuntimeError as error:  # cuBLAS and cuDNN have errors of their own
                row = {"not measured": str(error).strip().partition("\n")[0]}
            accumulate = row.get("accumulate", accumulate)
            section.put(label, row)
            longest = max(longest, 1.2 * (time.monotonic() - begun))


def _in_parts(
    config: PretrainConfig, teachers: tuple[FrozenEncoder, ...], accumulate: int
) -> dict[str, Any]:
    """The figures with as few parts of a batch as the memory allows."""
    while True:
        try:
            return _figures(replace(config, accumulate=accumulate), teachers)
        except torch.OutOfMemoryError:
            if accumulate >= config.batch_size // 2:
                raise
            accumulate *= 2
        gc.collect()  # accelerate's wrapping makes cycles that hold on to tensors
        torch.cuda.empty_cache()  # outside of the handler, whose error holds on to tensors


def _figures(config: PretrainConfig, teachers: tuple[FrozenEncoder, ...]) -> dict[str, Any]:
    """Views per second and memory of two epochs, and what the profiler saw of another."""
    gc.collect()  # the row before
    loop = _loop(config, teachers)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    _epoch(loop)
    begun = time.perf_counter()
    for _ in range(2):
        _epoch(loop)
    seconds = time.perf_counter() - begun
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        _epoch(loop)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        activity = read_activity(path, PHASES, STEPS)
    views = 2 * STEPS * config.batch_size * len(config.recipes)
    return {
        "views per second": views / seconds,
        "steps per second": 2 * STEPS / seconds,
        "peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30
        if torch.cuda.is_available()
        else None,
        "accumulate": config.accumulate,
        "ms per step": 1000 * seconds / (2 * STEPS),
        "activity": asdict(activity),
    }


def _epoch(loop: Loop) -> None:
    loop.run_epoch(lambda: False, lambda: None, lambda _n, _note="": None)
    finish()


def _loop(config: PretrainConfig, teachers: tuple[FrozenEncoder, ...]) -> Loop:
    """The training loop of `cvgssl pretrain` over random pictures."""
    count, side = STEPS * config.batch_size, config.image_size
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    digests = tuple(str(row) for row in range(count))
    folders = ("",) * count
    data = PretrainPictures(
        config.data, Pictures(pixels, digests), torch.arange(count), folders, True
    )
    accelerator = launch(None, config.precision)
    inputs = TrainingInputs(config, data, Views.of(config), accelerator, teachers)
    targets = _targets(inputs, generator)
    backbone, _ = student(config)
    method = build_method(config, backbone, targets.dims, targets.weights)
    return build_loop(inputs, method, targets)


def _targets(inputs: TrainingInputs, generator: np.random.Generator) -> TargetSource:
    """Random numbers in the place of what would be computed before training."""
    kind, bank, count = choose(inputs.config).form.targets, inputs.config.bank, len(inputs.data)
    if not kind.need_teachers:
        return NoTargets()
    if kind.need_bank:
        return MapTargets(torch.randn(count, map_width(count), device=device()))
    if not bank:
        return TeacherTargets(inputs.teachers, inputs.views)
    columns = bank * inputs.views.roles
    blocks = [_blocks(generator, count, columns, teacher.dim) for teacher in inputs.teachers]
    return BankTargets(inputs.teachers, Bank(blocks))


def _blocks(
    generator: np.random.Generator, pictures: int, columns: int, width: int
) -> list[np.ndarray[Any, np.dtype[np.float16]]]:
    numbers = generator.standard_normal((pictures, columns, width), np.float32).astype(np.float16)
    return [numbers[first : first + BLOCK] for first in range(0, pictures, BLOCK)]
