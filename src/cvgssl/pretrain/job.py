"""A pre-training job from options to files: the phases, in order."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.containers import read_tree
from cvgssl.encoders.frozen_encoder import FrozenEncoder, check_identity
from cvgssl.encoders.preprocessing import published_config
from cvgssl.encoders.pretrained import LoadReport
from cvgssl.pretrain.checkpoint import BACKBONE, checkpoints, save_backbone
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.data import load_pretrain_pictures
from cvgssl.pretrain.inputs import TrainingInputs
from cvgssl.pretrain.loop import build_loop
from cvgssl.pretrain.methods.build import build_method, check_installed
from cvgssl.pretrain.methods.registry import choose
from cvgssl.pretrain.monitors import build_monitor
from cvgssl.pretrain.student import compile_errors, student
from cvgssl.pretrain.targets import TargetSource, prepare_targets
from cvgssl.pretrain.teachers import choose_teachers
from cvgssl.pretrain.training import History, Training
from cvgssl.pretrain.views import Views
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.errors import UserError, naming
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import launch
from cvgssl.runtime.parsing import counted
from cvgssl.runtime.run import SNAPSHOT, SUMMARY, Clock, RunFolder, RunKind, open_run
from cvgssl.runtime.seeds import seed_for
from cvgssl.runtime.stopping import Stopped, stop_requests

# of batch 64, from random weights and from pretrained ones: docs/results/pretraining.md
FEW_STEPS, ENOUGH_STEPS, ENOUGH_TO_GO_ON = 250, 600, 140


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was given and what it ended with; also its summary.json.

    losses: mean of each loss term over the last epoch. monitors: figures of the last epoch.
    test_left_out: whether the data named test pictures, which were not used.
    guidance: empty for methods without. teachers: identity of each.
    seconds: wall-clock, without interruptions; guide_seconds: the part of it before training in
        which teachers embedded stored views. processor_seconds: CPU seconds of all cores, of the
        first process.
    """

    data: str
    pictures: int
    test_left_out: bool
    arch: str
    pretrained: str
    builder: str
    guidance: str
    teachers: list[dict[str, Any]]
    epochs: int
    steps: int
    precision: str
    hardware: str
    processes: int
    seconds: float
    processor_seconds: float
    guide_seconds: float
    losses: dict[str, float]
    monitors: dict[str, float] = field(default_factory=dict)


def pretrain(config: PretrainConfig) -> tuple[Path, PretrainSummary]:
    """Pre-train a backbone; returns the run folder and the summary.

    The folder holds backbone.safetensors (timm's names), checkpoints in the published format,
    log.txt, metrics.jsonl, config.yaml, environment.json. Raises UserError before anything is
    written when data, weights or options do not fit, and Stopped after a signal (see
    `stop_requests`), when the folder can be resumed.
    """
    history = History(Clock())
    accelerator = launch(config.gpu, config.precision, config.track)
    _check_shares(config, accelerator.num_processes)
    data = load_pretrain_pictures(config, accelerator)
    check_installed(config)
    backbone, report = student(config)
    teachers = _choose_teachers(config, accelerator.device)
    inputs = TrainingInputs(config, data, Views.of(config), accelerator, teachers)
    folder = open_run(config, _run_kind(inputs), accelerator)
    try:
        with compile_errors(config.compile), stop_requests() as stopping:
            snapshot = folder.load_snapshot(read_tree)
            if snapshot is None:
                _introduce(inputs, report, folder.log)
            else:
                with folder.restoring():
                    history.restore(snapshot)
            with history.preparing_targets():
                targets = prepare_targets(inputs, folder, _stop_check(stopping, folder.path))
            training = _build_training(inputs, backbone, targets, folder, history)
            if snapshot is not None:
                with folder.restoring():
                    training.loop.load_state(snapshot["loop"])
            training.run(stopping)
            summary = _summary(inputs, history)
            _finish(training, summary)
    finally:
        accelerator.end_training()
        folder.close()
    return folder.path, summary


def _check_shares(config: PretrainConfig, processes: int) -> None:
    """Every process must get the same number of pictures, and more than one, in every part."""
    share = config.batch_size / (processes * config.accumulate)
    if share < 2 or share != int(share):
        raise UserError(
            f"--batch-size {config.batch_size}: must be a multiple, 2 times at least, of "
            f"{counted(processes, 'process')} x --accumulate {config.accumulate}"
        )


def _choose_teachers(config: PretrainConfig, device: torch.device) -> tuple[FrozenEncoder, ...]:
    """The teachers on `device`, if the method has any."""
    if not choose(config).form.targets.need_teachers:
        return ()
    teachers = choose_teachers(config.teacher, config.teacher_layers)
    for teacher in teachers:
        with naming(f"--teacher {teacher.name}"):
            teacher.choose_runtime(config.runtime, config.precision)
    return tuple(teacher.to(device) for teacher in teachers)


def _run_kind(inputs: TrainingInputs) -> RunKind:
    """What distinguishes it: its pictures and teachers must be the same when it is resumed."""
    config, teachers, pictures = inputs.config, inputs.teachers, inputs.data.pictures.digest

    def check(recorded: Mapping[str, Any]) -> None:
        flag = f"--resume {config.resume}"
        if recorded["pictures_sha256"] != pictures:
            raise UserError(f"{flag}: the pictures changed since the run started; start a new run")
        if len(recorded["teachers"]) != len(teachers):
            raise UserError(f"{flag}: the run had {len(recorded['teachers'])} teachers")
        for before, teacher in zip(recorded["teachers"], teachers, strict=True):
            with naming(f"--teacher {teacher.name}"):
                check_identity(before, teacher)

    facts = {
        "pictures_sha256": pictures,
        "teachers": [teacher.identity() for teacher in teachers],
    }
    arch = config.arch.replace(":", "-").partition(",")[0]
    name = f"{config.data.resolve().stem}_{arch}_pretrain_{config.builder}"
    return RunKind("pretrain", name, facts, check)


def _stop_check(stopping: Callable[[], bool], folder: Path) -> Callable[[], None]:
    """A function that raises Stopped once the process is asked to stop."""

    def check() -> None:
        if stopping():
            raise Stopped(folder)

    return check


def _build_training(
    inputs: TrainingInputs,
    backbone: Backbone,
    targets: TargetSource,
    folder: RunFolder,
    history: History,
) -> Training:
    """The method, its loop and the monitor, before the first step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(inputs.config.seed, "heads"))
        method = build_method(inputs.config, backbone, targets.dims, targets.weights)
    loop, monitor = build_loop(inputs, method, targets), build_monitor(inputs)
    return Training(inputs, folder, loop, monitor, history)


def _introduce(
    inputs: TrainingInputs, report: LoadReport | None, log: Callable[[str], None]
) -> None:
    """The first lines of the log: pictures, student, teachers, method; warnings."""
    config, steps_per_epoch = inputs.config, inputs.steps_per_epoch
    log(inputs.data.describe())
    log(report.summary() if report else f"student: {config.arch} from random weights")
    for teacher in inputs.teachers:
        log(f"teacher {teacher.summary()}")
    sizes = ", ".join(str(recipe.size) for recipe in config.recipes)
    steps = steps_per_epoch * (config.epochs - config.start_epoch)
    log(f"method: {config.builder}; views of {sizes} px, {steps} steps of {config.batch_size}")
    for problem in _doubts(config, steps_per_epoch, steps):
        log(f"WARNING: {problem}")


def _doubts(config: PretrainConfig, steps_per_epoch: int, steps: int) -> Iterator[str]:
    """What makes a student worse than the frozen encoder, as far as options show it."""
    few, enough = (FEW_STEPS, ENOUGH_STEPS)
    if config.pretrained:
        few = enough = ENOUGH_TO_GO_ON
    if steps < few:
        epochs = math.ceil(enough / steps_per_epoch) + config.start_epoch
        start = "to go on from weights" if config.pretrained else "from random weights"
        other = "" if config.pretrained else ", or go on from weights with --pretrained"
        yield f"{steps} steps are few {start}; --epochs {epochs} makes {enough} or more{other}"
    size = published_config(config.arch).get("input_size", (0, 0, 0))[-1]
    if config.pretrained and config.view_size < size:
        yield (
            f"views of {config.view_size} px, where {config.arch} is for {size}: small defects are "
            "lost; compare the student with the frozen encoder on your labels before you use it"
        )


def _summary(inputs: TrainingInputs, history: History) -> PretrainSummary:
    config = inputs.config
    return PretrainSummary(
        data=str(config.data),
        pictures=len(inputs.data),
        test_left_out=inputs.data.test_left_out,
        arch=config.arch,
        pretrained=config.pretrained,
        builder=config.builder,
        guidance=choose(config).guidance,
        teachers=[teacher.identity() for teacher in inputs.teachers],
        epochs=config.epochs,
        steps=inputs.steps_per_epoch * (config.epochs - config.start_epoch),
        precision=config.precision,
        hardware=hardware(inputs.accelerator.device),
        processes=inputs.accelerator.num_processes,
        seconds=history.clock.seconds,
        processor_seconds=history.clock.processor_seconds,
        guide_seconds=history.target_seconds,
        losses=history.losses,
        monitors=history.figures,
    )


def _finish(training: Training, summary: PretrainSummary) -> None:
    """Write the backbone and the summary; the snapshot is no longer needed."""
    if not training.folder.writes:
        return
    path, facts = training.folder.path, training.facts()
    save_backbone(path / BACKBONE, training.loop.method.backbone, facts)
    averaged = training.loop.averaged_backbone
    if averaged is not None:
        save_backbone(path / "backbone_ema.safetensors", averaged, facts)
    write_json(path / SUMMARY, asdict(summary))
    (path / SNAPSHOT).unlink(missing_ok=True)
    assert checkpoints(path)
