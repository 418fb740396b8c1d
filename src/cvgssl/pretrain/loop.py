"""Optimizers of pre-training and their learning rates."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from cvgssl.encoders.timm_import import timm
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import Unlabelled
from cvgssl.pretrain.guides import Guides
from cvgssl.pretrain.methods.base import Batch, Method
from cvgssl.pretrain.views import Views
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import to_device
from cvgssl.runtime.progress import Advance
from cvgssl.runtime.schedule import cosine
from cvgssl.runtime.seeds import seed_for
from cvgssl.runtime.sync_batch_norm import synchronize_batch_norm


def build_optimizer(method: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimizer over every parameter that is trained.

    As published, weight decay holds for all of them; AdamW and LARS leave out biases and norms,
    which LARS (You et al. 2017) would scale to nothing.
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
    lars: torch.optim.Optimizer = timm.optim.Lars(  # type: ignore[attr-defined]
        groups, config.lr, momentum=config.momentum
    )
    return lars


def learning_rate(config: PretrainConfig, progress: float) -> float:
    """The rate after `progress` epochs (0..epochs, fractions count).

    Rises linearly over the warm-up, then falls to 0 as half a cosine (Loshchilov & Hutter 2017).
    With `scale_lr` the highest rate is lr * batch size / 256 (Goyal et al. 2017).
    """
    top = config.lr * (config.batch_size / 256 if config.scale_lr else 1)
    warmup = config.warmup_epochs
    if progress < warmup:
        return top * progress / warmup
    return cosine((progress - warmup) / (config.epochs - warmup), start=top)


SNAPSHOT_EVERY = 60.0  # seconds; what a SIGKILL can cost
# what a step consists of, by these names in torch's profiler
PHASES = ("views", "guidance", "forward", "backward", "optimizer")
VIEWS, GUIDANCE, FORWARD, BACKWARD, OPTIMIZER = PHASES


class Loop:
    """A method, its optimizer and the place in the training."""

    def __init__(
        self,
        method: Method,
        data: Unlabelled,
        views: Views,
        guides: Guides,
        config: PretrainConfig,
        accelerator: Accelerator,
    ) -> None:
        self.data, self.views, self.guides = data, views, guides
        self.config, self.accelerator = config, accelerator
        self.steps = len(data) // config.batch_size
        # the next step to do; it counts within the epoch
        self.epoch, self.step = config.start_epoch, 0
        # loss terms summed over the epoch's finished steps: here, and over all processes
        self.sums: dict[str, Tensor] = {}
        self.totals: dict[str, float] = {}
        # steps so far whose gradient fp16 could not hold: weights stayed, the scaler went down
        self.skipped = 0
        self.method = method.to(accelerator.device)
        synchronize_batch_norm(self.method)
        self.average: AveragedModel | None = None
        if config.ema is not None:
            average = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(
                self.method.backbone, multi_avg_fn=average, use_buffers=True
            )
        if config.compile:
            self.method.backbone.body.compile()
        optimizer = build_optimizer(self.method, config)
        self.wrapped, self.optimizer = accelerator.prepare(self.method, optimizer)

    def run_epoch(
        self, stopping: Callable[[], bool], save: Callable[[], None], advance: Advance
    ) -> dict[str, float] | None:
        """Finish the current epoch; gives the mean of each loss term and `loss`, their sum.

        save: is called now and then, when what it saves is sound. Gives None, after saving, when
        any process was asked to stop. Raises UserError when the loss is no number.
        """
        seed = seed_for(self.config.seed, "order", self.epoch)
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(seed))
        batches = order[: self.steps * self.config.batch_size].view(self.steps, -1)
        saved = time.monotonic()
        self.wrapped.train()
        while self.step < self.steps:
            for name, value in self._train_step(batches[self.step]).items():
                # one by one, so that the sum does not depend on when somebody looked
                self.sums[name] = self.sums.get(name, 0) + value.double()
            self.step += 1
            last = self.step == self.steps
            looks = last or self.step % self.config.print_freq == 0
            if looks or (self._alone and stopping()):
                stop = self._collect(stopping())
                if stop or (time.monotonic() - saved > SNAPSHOT_EVERY):
                    save()
                    saved = time.monotonic()
                if stop:
                    return None
            loss = sum(self.totals.values()) / self.step
            advance(self.config.batch_size * self.views.roles, f"loss {loss:.3f}" if looks else "")
        means = {name: value / self.steps for name, value in self.totals.items()}
        self.epoch, self.step, self.sums, self.totals = self.epoch + 1, 0, {}, {}
        return {"loss": sum(means.values())} | means

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here, for a snapshot."""
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
        """Go back to where `state` was taken."""
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
    def progress(self) -> float:
        """Epochs done, fractions included."""
        return self.epoch + self.step / self.steps

    @property
    def _alone(self) -> bool:
        return bool(self.accelerator.num_processes == 1)

    def _train_step(self, rows: Tensor) -> dict[str, Tensor]:
        """One step on the pictures `rows`, all processes'; the loss terms, without gradient."""
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
                share = value.detach().float() / len(parts)
                sums[name] = sums[name] + share if name in sums else share
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
        """Views and teachers' embeddings of the pictures `rows`, for this epoch."""
        device, views = self.accelerator.device, self.views
        keys = self.data.keys[rows]
        with record_function(VIEWS):
            numbers = views.numbers(keys, self.epoch)
            pixels = views.stored(self.data, rows, device)
            rendered = tuple(
                views.render(pixels, keys, role, numbers[:, role]) for role in range(views.roles)
            )
        with record_function(GUIDANCE), self.accelerator.autocast():
            guidance = self.guides.guidance(
                rows,
                numbers,
                lambda teachers: views.embed(teachers, pixels, keys, numbers, rendered),
            )
            teachers = tuple(to_device(embeddings, device) for embeddings in guidance)
        return Batch(rendered, teachers, self.progress / self.config.epochs)

    def _collect(self, stopping: bool) -> bool:
        """Bring the totals up to date; whether any process was asked to stop."""
        device = self.accelerator.device
        stop = torch.tensor(stopping, dtype=torch.float64, device=device)
        *sums, stops = self.accelerator.reduce(
            torch.stack([*self.sums.values(), stop]), "mean"
        ).tolist()
        self.totals = dict(zip(self.sums, sums, strict=True))
        if not all(math.isfinite(value) for value in sums):
            raise UserError(
                f"epoch {self.epoch + 1}, step {self.step}: the loss is no number any more; what "
                "was saved before is sound; start again with a lower --lr, --clip-grad 1 or "
                "--precision fp32"
            )
        return bool(stops > 0)
