"""A pre-training job from options to files."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.pretrained import LoadReport
from cvgssl.encoders.teacher import Teacher
from cvgssl.pretrain.checkpoint import (
    BACKBONE,
    backbone_facts,
    checkpoints,
    save_backbone,
    save_checkpoint,
)
from cvgssl.pretrain.config import WITH_TEACHERS, PretrainConfig
from cvgssl.pretrain.data import Unlabelled, load_unlabelled
from cvgssl.pretrain.folder import run_kind
from cvgssl.pretrain.guides import choose_teachers, prepare_guides
from cvgssl.pretrain.loop import Loop
from cvgssl.pretrain.methods.build import build_method, check_builder
from cvgssl.pretrain.monitors import Monitor, warning
from cvgssl.pretrain.student import compile_errors, student
from cvgssl.pretrain.summary import PretrainSummary
from cvgssl.pretrain.views import Views
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import launch
from cvgssl.runtime.options import to_dict
from cvgssl.runtime.progress import progress
from cvgssl.runtime.run import SNAPSHOT, SUMMARY, Clock, RunFolder, Stopped, open_run, stop_requests
from cvgssl.runtime.seeds import seed_for
from cvgssl.runtime.trackers import start_trackers, track

FEW_STEPS, ENOUGH_STEPS = 250, 600  # of batch 64, from random weights: docs/results.md


def pretrain(config: PretrainConfig) -> tuple[Path, PretrainSummary]:
    """Pre-train a backbone; gives the run folder and the summary.

    The folder holds backbone.safetensors (timm's names), checkpoints in the published format,
    log.txt, metrics.jsonl, config.yaml, environment.json. Raises UserError before anything is
    written when data, weights or options do not fit, and Stopped after a SIGTERM, when the folder
    can be resumed.
    """
    clock = Clock()
    accelerator = launch(config.gpu, config.precision, config.track)
    _check_shares(config, accelerator.num_processes)
    data = load_unlabelled(config, accelerator)
    check_builder(config.builder)
    backbone, report = student(config)
    teachers: tuple[Teacher, ...] = ()
    if config.builder in WITH_TEACHERS:
        teachers = choose_teachers(config.teacher, config.teacher_layers)
    for teacher in teachers:
        teacher.to(accelerator.device)
    folder = open_run(config, run_kind(config, data, teachers), accelerator)
    try:
        with compile_errors(config.compile), stop_requests() as stopping:
            job = _Job(
                config, data, backbone, report, teachers, accelerator, folder, clock, stopping
            )
            job.run()
    finally:
        accelerator.end_training()
        folder.close()
    return folder.path, job.summary()


def _check_shares(config: PretrainConfig, processes: int) -> None:
    """Every process must get the same number of pictures, and more than one, in every part."""
    share = config.batch_size / (processes * config.accumulate)
    if share < 2 or share != int(share):
        raise UserError(
            f"--batch-size {config.batch_size}: must be a multiple, 2 times at least, of "
            f"{processes} processes x --accumulate {config.accumulate}"
        )


class _Job:
    """One run: what it needs, from the first epoch to the files it leaves."""

    def __init__(
        self,
        config: PretrainConfig,
        data: Unlabelled,
        backbone: Backbone,
        report: LoadReport | None,
        teachers: tuple[Teacher, ...],
        accelerator: Accelerator,
        folder: RunFolder,
        clock: Clock,
        stopping: Callable[[], bool],
    ) -> None:
        self.config, self.data, self.teachers = config, data, teachers
        self.stopping = stopping
        self.accelerator, self.folder, self.clock = accelerator, folder, clock
        self.snapshot = folder.load_snapshot()
        if self.snapshot is None:
            self._introduce(report)
        else:
            clock.went_on(self.snapshot["seconds"], self.snapshot["processor_seconds"])
        self.views = Views(config.recipes, config.geometry, config.seed, config.student_bank)
        begun = time.monotonic()
        guides = prepare_guides(
            teachers, self.views, data, config, accelerator, folder, self._check
        )
        self.guide_seconds = time.monotonic() - begun
        if self.snapshot is not None:
            self.guide_seconds += self.snapshot["guide_seconds"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(config.seed, "heads"))
            method = build_method(
                config,
                backbone,
                guides.dims,
                guides.weights,
            )
        self.loop = Loop(method, data, self.views, guides, config, accelerator)
        self.monitor = Monitor(data, teachers, config.view_size, config.knn, accelerator)
        self.losses: dict[str, float] = {}
        self.figures: dict[str, float] = {}
        if self.snapshot is not None:
            self.loop.load_state(self.snapshot["loop"])
            self.losses, self.figures = self.snapshot["losses"], self.snapshot["figures"]

    def run(self) -> None:
        """Train to the last epoch and leave the files."""
        config, loop = self.config, self.loop
        start_trackers(self.accelerator, self.folder.path, to_dict(config))
        views = config.batch_size * self.views.roles
        left = round((config.epochs - loop.progress) * loop.steps)
        with progress("views", left * views, self.accelerator.is_main_process) as advance:
            while loop.epoch < config.epochs:
                begun = time.monotonic()
                losses = loop.run_epoch(self.stopping, self._save, advance)
                if losses is None:
                    raise Stopped(self.folder.path)
                self.losses = losses
                self._report(loop.steps * views / (time.monotonic() - begun))
                if loop.epoch % config.save_freq == 0 or loop.epoch == config.epochs:
                    self._checkpoint()
        self._finish()

    def summary(self) -> PretrainSummary:
        """What the run was and ended with."""
        config = self.config
        return PretrainSummary(
            data=str(config.data),
            pictures=len(self.data),
            held_out=self.data.held_out,
            arch=config.arch,
            pretrained=config.pretrained,
            builder=config.builder,
            guidance=config.guidance if config.builder == "cvgssl" else "",
            teachers=[teacher.identity() for teacher in self.teachers],
            epochs=config.epochs,
            steps=self.loop.steps * (config.epochs - config.start_epoch),
            precision=config.precision,
            hardware=hardware(self.accelerator.device),
            processes=self.accelerator.num_processes,
            seconds=self.clock.seconds,
            processor_seconds=self.clock.processor_seconds,
            guide_seconds=self.guide_seconds,
            losses=self.losses,
            monitors=self.figures,
        )

    def _introduce(self, report: LoadReport | None) -> None:
        config, log = self.config, self.folder.log
        log(self.data.describe())
        log(report.summary() if report else f"student: {config.arch} from random weights")
        for teacher in self.teachers:
            log(teacher.summary())
        sizes = ", ".join(str(recipe.size) for recipe in config.recipes)
        each = len(self.data) // config.batch_size
        steps = each * (config.epochs - config.start_epoch)
        log(f"method: {config.builder}; views of {sizes} px, {steps} steps of {config.batch_size}")
        if steps < FEW_STEPS and not config.pretrained:
            enough = math.ceil(ENOUGH_STEPS / each) + config.start_epoch
            log(
                f"WARNING: {steps} steps are few from random weights; --epochs {enough} makes "
                f"{ENOUGH_STEPS}, or go on from weights with --pretrained"
            )

    def _check(self) -> None:
        if self.stopping():
            raise Stopped(self.folder.path)

    def _report(self, rate: float) -> None:
        """The epoch's log line, metrics.jsonl and trackers; now and then a look at features."""
        config, epoch, losses = self.config, self.loop.epoch, self.losses
        terms = ", ".join(f"{k} {v:.4f}" for k, v in losses.items() if k != "loss")
        line = f"Epoch [{epoch}/{config.epochs}] Loss: {losses['loss']:.4f} ({terms})"
        row: dict[str, Any] = {"epoch": epoch} | losses
        row["lr"] = self.loop.optimizer.param_groups[0]["lr"]
        row["views_per_second"] = rate
        if config.precision == "fp16":
            row["skipped_steps"] = self.loop.skipped
        looks = epoch % config.monitor_every == 0 or epoch == config.epochs
        if looks:
            self.figures = self.monitor.look(self.loop.method.backbone)
            row |= self.figures
            line += " | " + ", ".join(f"{k} {v:.3g}" for k, v in self.figures.items())
        self.folder.log(f"{line} | {rate:.0f} views/s")
        problem = warning(self.figures) if looks else None
        if problem:
            self.folder.log(f"WARNING: {problem}")
        self.folder.metrics(row)
        track(self.accelerator, 1, epoch, {k: v for k, v in row.items() if k != "epoch"})

    def _save(self) -> None:
        """The snapshot to resume from; refuses weights that the last step has spoilt."""
        if not all(bool(value.isfinite().all()) for value in self.loop.method.parameters()):
            raise UserError(
                f"epoch {self.loop.epoch + 1}: weights are no numbers any more; what was saved "
                "before is sound; start again with a lower --lr, --clip-grad 1 or --precision fp32"
            )
        if self.folder.writes:
            self.folder.save_snapshot(
                {
                    "loop": self.loop.state(),
                    "losses": self.losses,
                    "figures": self.figures,
                    "seconds": self.clock.seconds,
                    "processor_seconds": self.clock.processor_seconds,
                    "guide_seconds": self.guide_seconds,
                }
            )

    def _checkpoint(self) -> None:
        self._save()
        if not self.folder.writes:
            return
        save_checkpoint(
            self.folder.path,
            self.loop.epoch,
            self.loop.method,
            self.loop.method.backbone,
            self.loop.optimizer,
            self._facts(),
            self.config.keep,
        )

    def _facts(self) -> dict[str, Any]:
        """What the weights need to be used, and where they come from."""
        return backbone_facts(
            self.loop.method.backbone,
            {
                "image_size": self.config.view_size,
                "builder": self.config.builder,
                "teachers": [teacher.identity() for teacher in self.teachers],
                "pictures_sha256": self.data.pictures.digest,
                "held_out": self.data.held_out,
                "epoch": self.loop.epoch,
            },
        )

    def _finish(self) -> None:
        if not self.folder.writes:
            return
        path, backbone = self.folder.path, self.loop.method.backbone
        save_backbone(path / BACKBONE, backbone, self._facts())
        if self.loop.average is not None:
            average = self.loop.average.module
            assert isinstance(average, Backbone)
            save_backbone(path / "backbone_ema.safetensors", average, self._facts())
        write_json(path / SUMMARY, asdict(self.summary()))
        (path / SNAPSHOT).unlink(missing_ok=True)
        assert checkpoints(path)
