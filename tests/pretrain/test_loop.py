"""The loop's own part: counting, state. Its weights are compared in tests/e2e."""

from pathlib import Path

import numpy as np
import torch

from cvgssl.images.dataset import Pictures
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import PretrainPictures
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.loop import Loop, build_loop
from cvgssl.pretrain.methods.build import build_method
from cvgssl.pretrain.student import student
from cvgssl.pretrain.targets import NoTargets
from cvgssl.pretrain.views import Views
from cvgssl.runtime.launch import launch


def loop(scale: float) -> Loop:
    """Two steps an epoch, with a gradient scaler as --precision fp16 has on a GPU."""
    config = PretrainConfig(
        data=Path("unused"), builder="mocov3", arch="test_resnet", batch_size=4, view_size=32,
        image_size=32, nmb_crops=(1,), min_scale_crops=(0.2,), max_scale_crops=(1.0,), lr=0.01,
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 32, 32), dtype=np.uint8)
    pictures = Pictures(pixels, tuple("abcdefgh"))
    data = PretrainPictures(config.data, pictures, torch.arange(8), ("",) * 8, test_left_out=True)
    accelerator = launch()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    torch.manual_seed(0)
    method = build_method(config, student(config)[0])
    return build_loop(
        TrainingInputs(config, data, Views.of(config), accelerator), method, NoTargets()
    )


def run_epoch(training: Loop) -> None:
    assert training.run_epoch(lambda: False, lambda: None, lambda _n, _note="": None)


def test_steps_that_the_scaler_skips_are_counted_and_change_nothing() -> None:
    training = loop(float("inf"))
    before = [value.clone() for value in training.method.backbone.parameters()]
    run_epoch(training)
    assert training.skipped == 2
    same = zip(before, training.method.backbone.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    resumed = loop(1.0)
    resumed.load_state(training.state())
    assert resumed.skipped == 2 and resumed.epoch == 1


def test_no_step_is_skipped_without_need() -> None:
    training = loop(1.0)
    run_epoch(training)
    assert training.skipped == 0
