"""The epochs of a run: training, log and metrics, monitors, snapshots and checkpoints."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cvgssl.pretrain.checkpoint import Checkpoint, backbone_facts, save_checkpoint
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.loop import Loop
from cvgssl.pretrain.monitors import Monitor, warning
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import to_dict
from cvgssl.runtime.progress import progress
from cvgssl.runtime.run import Clock, RunFolder
from cvgssl.runtime.stopping import Stopped
from cvgssl.runtime.trackers import start_trackers, track


@dataclass
class History:
    """Time and results of a run so far, interruptions included.

    target_seconds: wall-clock, for building or opening what views are compared with.
    losses: means over the last finished epoch. figures: of the monitor, when it last ran.
    """

    clock: Clock
    target_seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Add the times of an interrupted run, and take its results."""
        self.clock.went_on(snapshot["seconds"], snapshot["processor_seconds"])
        self.target_seconds += snapshot["guide_seconds"]
        self.losses, self.figures = snapshot["losses"], snapshot["figures"]

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            "losses": self.losses,
            "figures": self.figures,
            "seconds": self.clock.seconds,
            "processor_seconds": self.clock.processor_seconds,
            "guide_seconds": self.target_seconds,
        }

    @contextmanager
    def preparing_targets(self) -> Iterator[None]:
        """Count the time inside the block as `target_seconds`."""
        begun = time.monotonic()
        yield
        self.target_seconds += time.monotonic() - begun


@dataclass(frozen=True)
class Training:
    """A loop and what records its epochs."""

    inputs: TrainingInputs
    folder: RunFolder
    loop: Loop
    monitor: Monitor
    history: History

    def run(self, stopping: Callable[[], bool]) -> None:
        """Train to the last epoch.

        stopping: whether this process is asked to stop; then raises Stopped, after saving.
        """
        config, loop, accelerator = self.inputs.config, self.loop, self.inputs.accelerator
        start_trackers(accelerator, self.folder.path, to_dict(config))
        views = config.batch_size * self.inputs.views.roles
        steps_left = round((config.epochs - loop.progress) * loop.steps)
        with progress("views", steps_left * views, accelerator.is_main_process) as advance:
            while loop.epoch < config.epochs:
                begun = time.monotonic()
                losses = loop.run_epoch(stopping, self.save_snapshot, advance)
                if losses is None:
                    raise Stopped(self.folder.path)
                self.history.losses = losses
                self._report(loop.steps * views / (time.monotonic() - begun))
                if loop.epoch % config.save_freq == 0 or loop.epoch == config.epochs:
                    self._save_checkpoint()

    def save_snapshot(self) -> None:
        """Save the state to resume from; raises UserError for weights that are not finite."""
        self._check_finite()
        if self.folder.writes:
            self.folder.save_snapshot({"loop": self.loop.state()} | self.history.state())

    def _check_finite(self) -> None:
        if not all(bool(value.isfinite().all()) for value in self.loop.method.parameters()):
            raise UserError(
                f"epoch {self.loop.epoch + 1}: weights are NaN or infinite; what was saved before "
                "is sound; start again with a lower --lr, --clip-grad 1 or --precision fp32"
            )

    def facts(self) -> dict[str, Any]:
        """How the weights are to be used, and where they come from; JSON values."""
        inputs = self.inputs
        return backbone_facts(
            self.loop.method.backbone,
            {
                "image_size": inputs.config.view_size,
                "builder": inputs.config.builder,
                "teachers": [teacher.identity() for teacher in inputs.teachers],
                "pictures_sha256": inputs.data.pictures.digest,
                "test_left_out": inputs.data.test_left_out,
                "epoch": self.loop.epoch,
            },
        )

    def _report(self, rate: float) -> None:
        """The epoch's log line, row of metrics.jsonl and trackers; rate: views per second."""
        config, epoch, losses = self.inputs.config, self.loop.epoch, self.history.losses
        terms = ", ".join(f"{k} {v:.4f}" for k, v in losses.items() if k != "loss")
        line = f"Epoch [{epoch}/{config.epochs}] Loss: {losses['loss']:.4f} ({terms})"
        row: dict[str, Any] = {"epoch": epoch} | losses
        row["lr"] = self.loop.optimizer.param_groups[0]["lr"]
        row["views_per_second"] = rate
        if config.precision == "fp16":
            row["skipped_steps"] = self.loop.skipped
        problem = None
        if epoch % config.monitor_every == 0 or epoch == config.epochs:
            self.history.figures = figures = self.monitor.figures(self.loop.method.backbone)
            row |= figures
            line += " | " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items())
            problem = warning(figures)
        self.folder.log(f"{line} | {rate:.0f} views/s")
        if problem:
            self.folder.log(f"WARNING: {problem}")
        self.folder.metrics(row)
        values = {name: value for name, value in row.items() if name != "epoch"}
        track(self.inputs.accelerator, None, epoch, values)

    def _save_checkpoint(self) -> None:
        self._check_finite()
        if self.folder.writes:
            loop = self.loop
            checkpoint = Checkpoint(loop.epoch, loop.method, loop.optimizer, self.facts())
            save_checkpoint(self.folder.path, checkpoint, self.inputs.config.keep)
        self.save_snapshot()  # after it: a run that resumes here lacks no checkpoint
