"""The training loop: optimizers, learning rate, and the steps of an epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.timm_import import timm_optimizers
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.methods.base import Batch, Method
from cvgssl.pretrain.targets import TargetSource
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import to_device
from cvgssl.runtime.progress import Advance
from cvgssl.runtime.schedule import cosine
from cvgssl.runtime.seeds import seed_for
from cvgssl.runtime.sync_batch_norm import synchronize_batch_norm


def build_optimizer(method: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimizer of `--optimizer` over all parameters that require a gradient.

    As published, weight decay applies to all of them; AdamW and LARS (You et al. 2017) exempt
    biases and norms, which LARS would scale to nothing.
    """
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            trained, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    if config.optimizer == "adam":
        return torch.optim.Adam(trained, config.lr, weight_decay=config.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.lr)
    lars: torch.optim.Optimizer = timm_optimizers().Lars(
        groups, config.lr, momentum=config.momentum
    )
    return lars


def learning_rate(config: PretrainConfig, progress: float) -> float:
    """The learning rate after `progress` epochs, 0..epochs, fractions included.

    Linear over the warm-up, then half a cosine down to 0. With `scale_lr` the highest rate is
    lr * batch size / 256 (Goyal et al. 2017).
    """
    top = config.lr * (config.batch_size / 256 if config.scale_lr else 1)
    warmup = config.warmup_epochs
    if progress < warmup:
        return top * progress / warmup
    return cosine((progress - warmup) / (config.epochs - warmup), start=top)


SNAPSHOT_EVERY = 60.0  # seconds of work that a SIGKILL can lose
# the parts of a step, by their names in torch's profiler
PHASES = ("views", "guidance", "forward", "backward", "optimizer")
VIEWS, GUIDANCE, FORWARD, BACKWARD, OPTIMIZER = PHASES


def build_loop(inputs: TrainingInputs, method: Method, targets: TargetSource) -> "Loop":
    """Bring the method to the device and the processes; a loop before its first step."""
    config, accelerator = inputs.config, inputs.accelerator
    method = method.to(accelerator.device)
    synchronize_batch_norm(method)
    average = None
    if config.ema is not None:
        decay = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
        average = AveragedModel(method.backbone, multi_avg_fn=decay, use_buffers=True)
    if config.compile:
        timm_optimizers()  # for its limit of compilations
        method.backbone.body.compile()
    wrapped, optimizer = accelerator.prepare(method, build_optimizer(method, config))
    return Loop(inputs, targets, method, wrapped, optimizer, average, epoch=config.start_epoch)


@dataclass
class Loop:
    """A method, its optimizer and the position in the training.

    wrapped: `method` as the processes train it together. average: of the backbone's weights.
    epoch, step: of the next step; steps count within the epoch.
    skipped: steps whose gradient fp16 could not hold, so that weights were not updated.
    """

    inputs: TrainingInputs
    targets: TargetSource
    method: Method
    wrapped: nn.Module
    optimizer: AcceleratedOptimizer
    average: AveragedModel | None = None
    epoch: int = 0
    step: int = 0
    skipped: int = 0
    # loss terms summed over the epoch's finished steps: of this process, and of all
    sums: dict[str, Tensor] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)

    @property
    def config(self) -> PretrainConfig:
        """The options of the run."""
        return self.inputs.config

    @property
    def accelerator(self) -> Accelerator:
        """Device, precision and processes."""
        return self.inputs.accelerator

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.inputs.steps_per_epoch

    def run_epoch(
        self, stopping: Callable[[], bool], save: Callable[[], None], advance: Advance
    ) -> dict[str, float] | None:
        """Finish the current epoch; return the mean of each loss term and `loss`, their sum.

        stopping: whether this process is asked to stop. save: called about once a minute, when
        the losses so far are finite. Returns None, after saving, when any process is asked to
        stop. Raises UserError when the loss is NaN or infinite.
        """
        seed = seed_for(self.config.seed, "order", self.epoch)
        order = torch.randperm(len(self.inputs.data), generator=torch.Generator().manual_seed(seed))
        batches = order[: self.steps * self.config.batch_size].view(self.steps, -1)
        saved = time.monotonic()
        self.wrapped.train()
        while self.step < self.steps:
            for name, value in self._train_step(batches[self.step]).items():
                # step by step, so that the sum does not depend on --print-freq
                self.sums[name] = self.sums.get(name, 0) + value.double()
            self.step += 1
            last = self.step == self.steps
            due = last or self.step % self.config.print_freq == 0
            if due or (self._is_only_process and stopping()):
                stop = self._collect(stopping())
                if stop or (time.monotonic() - saved > SNAPSHOT_EVERY):
                    save()
                    saved = time.monotonic()
                if stop:
                    return None
            loss = sum(self.totals.values()) / self.step
            count = self.config.batch_size * self.inputs.views.roles
            advance(count, f"loss {loss:.3f}" if due else "")
        means = {name: value / self.steps for name, value in self.totals.items()}
        self.epoch, self.step, self.sums, self.totals = self.epoch + 1, 0, {}, {}
        return {"loss": sum(means.values())} | means

    def state(self) -> dict[str, Any]:
        """Everything needed to continue from here, for a snapshot."""
        average, scaler = self.average, self.accelerator.scaler
        return {
            "epoch": self.epoch,
            "step": self.step,
            "totals": self.totals,
            "skipped": self.skipped,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average.state_dict() if average is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.epoch, self.step, self.totals = state["epoch"], state["step"], state["totals"]
        self.skipped = state.get("skipped", 0)
        self.sums = {
            name: torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
            for name, value in self.totals.items()
        }
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    @property
    def averaged_backbone(self) -> Backbone | None:
        """The backbone with averaged weights, with `--ema`."""
        if self.average is None:
            return None
        backbone = self.average.module
        assert isinstance(backbone, Backbone)
        return backbone

    @property
    def progress(self) -> float:
        """Epochs done, fractions included."""
        return self.epoch + self.step / self.steps

    @property
    def _is_only_process(self) -> bool:
        return bool(self.accelerator.num_processes == 1)

    def _train_step(self, rows: Tensor) -> dict[str, Tensor]:
        """One step on the pictures `rows` of all processes; the loss terms, without gradient."""
        config, accelerator = self.config, self.accelerator
        world, rank = accelerator.num_processes, accelerator.process_index
        torch.manual_seed(seed_for(config.seed, "step", self.epoch, self.step, rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.progress)
        sums: dict[str, Tensor] = {}
        parts = rows.chunk(config.accumulate)
        for part in parts:
            batch = self._batch(part[rank::world])
            with record_function(FORWARD):
                with accelerator.autocast():
                    terms = self.wrapped(batch)
                total = torch.stack([value.float() for value in terms.values()]).sum()
            with record_function(BACKWARD):
                accelerator.backward(total / len(parts))
            for name, value in terms.items():
                part_of_mean = value.detach().float() / len(parts)
                sums[name] = sums[name] + part_of_mean if name in sums else part_of_mean
        with record_function(OPTIMIZER):
            if config.clip_grad is not None:
                accelerator.clip_grad_norm_(self.method.parameters(), config.clip_grad)
            self.optimizer.step()
            self.skipped += self.optimizer.step_was_skipped
            self.optimizer.zero_grad()
            self.method.after_step(self.progress / config.epochs)
            if self.average is not None:
                self.average.update_parameters(self.method.backbone)
        return sums

    def _batch(self, rows: Tensor) -> Batch:
        """Views of the pictures `rows` in this epoch, and their targets."""
        inputs, device = self.inputs, self.accelerator.device
        with record_function(VIEWS):
            drawn = inputs.views.draw(inputs.data, rows, self.epoch, device)
        with record_function(GUIDANCE), self.accelerator.autocast():
            targets = tuple(to_device(values, device) for values in self.targets.targets(drawn))
        return Batch(drawn.rendered, targets, self.progress / self.config.epochs)

    def _collect(self, stopping: bool) -> bool:
        """Update the totals over processes; whether any process is asked to stop."""
        device = self.accelerator.device
        stop = torch.tensor(stopping, dtype=torch.float64, device=device)
        *sums, stops = self.accelerator.reduce(
            torch.stack([*self.sums.values(), stop]), "mean"
        ).tolist()
        self.totals = dict(zip(self.sums, sums, strict=True))
        if not all(math.isfinite(value) for value in sums):
            raise UserError(
                f"epoch {self.epoch + 1}, step {self.step}: the loss is NaN or infinite; what was "
                "saved before is sound; start again with a lower --lr, --clip-grad 1 or "
                "--precision fp32"
            )
        return bool(stops > 0)
