"""The few-shot protocol: one training per draw, a summary; resumable anywhere.

`adapt` has the phases, in order.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from cvgssl.adapt.batches import least_batch
from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.data import Task, load_task
from cvgssl.adapt.draws import save_draws
from cvgssl.adapt.frozen_features import feature_extractor
from cvgssl.adapt.history import DrawHistory
from cvgssl.adapt.lora import merged
from cvgssl.adapt.model_file import Support, save_model
from cvgssl.adapt.model_source import ModelSource, load_model_source
from cvgssl.adapt.network import Recognizer
from cvgssl.adapt.pseudo_labels import PseudoLabelSource, pseudo_label_source
from cvgssl.adapt.summary import Summary, mode_of, score_draws, setting_of
from cvgssl.adapt.training import DrawInputs, LabelledInputs, Trainer
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.containers import read_tree
from cvgssl.images.splits import write_split
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import in_any_process, launch, only_new_garbage
from cvgssl.runtime.options import to_dict
from cvgssl.runtime.progress import progress
from cvgssl.runtime.run import SNAPSHOT, SUMMARY, Clock, RunFolder, RunKind, open_run
from cvgssl.runtime.stopping import Stopped, stop_requests
from cvgssl.runtime.trackers import start_trackers


def adapt(config: AdaptConfig) -> tuple[Path, Summary]:
    """Fine-tune (FinetuneConfig) or train linear heads (LinearConfig) on every draw.

    Gives the run folder and the summary, which is there as summary.json too. Raises
    UserError before anything is written when data, weights or options do not fit, and Stopped
    after a signal (see `stop_requests`), when the folder can be resumed.
    """
    history = DrawHistory(Clock())
    accelerator = launch(config.gpu, config.precision, config.track)
    task = load_task(config, accelerator)
    source = load_model_source(config, task.classes, task.geometry)
    least = least_batch(config, task, source, accelerator.num_processes)
    folder = open_run(config, _kind(config, task), accelerator, partial(_write_draws, task))
    job = AdaptJob(config, task, source, accelerator, folder, least)
    try:
        with stop_requests() as stopping:
            snapshot = folder.load_snapshot(read_tree)
            if snapshot is None:
                _introduce(job)
            else:
                with folder.restoring():
                    history.restore(snapshot)
            start_trackers(accelerator, folder.path, to_dict(config))
            _train_all(job, prepare(job, stopping), history, stopping)
        summary = _summarize(job, history)
        if accelerator.is_main_process:
            write_json(folder.path / SUMMARY, asdict(summary))
            (folder.path / SNAPSHOT).unlink(missing_ok=True)
    finally:
        accelerator.end_training()
        folder.close()
    return folder.path, summary


@dataclass(frozen=True)
class AdaptJob:
    """What all phases share: options, pictures and draws, where weights begin, device, folder.

    least: labelled pictures of a batch.
    """

    config: AdaptConfig
    task: Task
    source: ModelSource
    accelerator: Accelerator
    folder: RunFolder
    least: int


@dataclass(frozen=True)
class Material:
    """What all draws train and are measured on.

    train: pixels of all training pictures, or features of those in a draw, as an array that draws
        index. test: the same of the test pictures.
    backbone: the frozen one that features are of, with linear evaluation.
    pools: pictures with pseudo-labels, where they are wanted.
    """

    train: Any
    test: LabelledInputs
    backbone: Backbone | None = None
    pools: PseudoLabelSource | None = None


def _kind(config: AdaptConfig, task: Task) -> RunKind:
    command = "finetune" if isinstance(config, FinetuneConfig) else "linear"
    arch = config.arch.replace(":", "-")
    fingerprint = task.fingerprint()

    def check(recorded: Mapping[str, Any]) -> None:
        if recorded["pictures_sha256"] != fingerprint:
            raise UserError(
                f"--resume {config.resume}: the pictures, the split or the draws changed since "
                "the run started; start a new run"
            )

    name = f"{config.data.resolve().stem}_{arch}_{command}_{config.shot}shot"
    return RunKind(command, name, {"pictures_sha256": fingerprint}, check)


def _write_draws(task: Task, path: Path) -> None:
    save_draws(task.draws, path / "draws.json")
    write_split(task.loaded.dataset, path / "split.csv")


def _introduce(job: AdaptJob) -> None:
    """The first lines of the log: pictures, weights, what is trained."""
    job.folder.log(job.task.describe())
    job.folder.log(job.source.start)
    if job.source.trained:
        job.folder.log(job.source.trained)
    job.folder.log(
        "Val: the pictures of test/, looked at after every epoch; nothing is chosen by it"
    )


def prepare(job: AdaptJob, stopping: Callable[[], bool]) -> Material:
    """Pictures for fine-tuning; for linear evaluation features, computed once for all draws.

    Raises Stopped when it is asked to stop meanwhile; the features so far are in the cache.
    """
    config, task = job.config, job.task
    if not isinstance(config, FinetuneConfig):
        return _features(job, stopping)
    train, test = task.loaded.train, LabelledInputs(task.loaded.test.pixels, task.test_labels)
    if not config.pseudo_labels:
        return Material(train.pixels, test)
    extractor = feature_extractor(job.source, config, job.accelerator, pooled=True)
    total = len(train) if task.pool is None else len(train) + len(task.pool.pictures)
    with _feature_progress(job, total, stopping) as advance:
        pools = pseudo_label_source(task, config, extractor, advance)
    return Material(train.pixels, test, pools=pools)


def _features(job: AdaptJob, stopping: Callable[[], bool]) -> Material:
    train, test = job.task.loaded.train, job.task.loaded.test
    extractor = feature_extractor(job.source, job.config, job.accelerator)
    needed = np.unique(np.concatenate(job.task.support_rows))
    labelled = train.take(needed)
    with _feature_progress(job, len(labelled) + len(test), stopping) as advance:
        support = extractor.features(labelled, advance)
        tested = extractor.features(test, advance)
    # rows that no draw holds stay unset, so that draws index features and pictures alike
    features = support.new_full((len(train), support.shape[1]), float("nan"))
    features[needed] = support
    return Material(
        features, LabelledInputs(tested, job.task.test_labels), backbone=job.source.frozen()
    )


@contextmanager
def _feature_progress(
    job: AdaptJob, total: int, stopping: Callable[[], bool]
) -> Iterator[Callable[[int], None]]:
    """Progress of features; raises Stopped between two batches, which are kept in the cache."""
    with progress("features", total, job.accelerator.is_main_process) as advance:

        def advance_or_stop(count: int) -> None:
            advance(count)
            if in_any_process(job.accelerator, stopping()):
                raise Stopped(job.folder.path)

        yield advance_or_stop


def _train_all(
    job: AdaptJob, material: Material, history: DrawHistory, stopping: Callable[[], bool]
) -> None:
    """Train on every draw that is not finished, from where the interrupted one was."""
    folder, first = job.folder, job.accelerator.is_main_process

    def save(trainer: Trainer | None) -> None:
        folder.save_snapshot(history.snapshot(trainer))

    left = _epochs_left(job, history)
    with progress("epochs", left, first) as advance, only_new_garbage():
        for draw in range(len(history.finished) + 1, len(job.task.support_rows) + 1):
            trainer = _trainer(job, material, draw)
            if history.trainer is not None:
                with folder.restoring():
                    trainer.load_state(history.trainer)
                history.trainer = None
            elif trainer.pool is not None:
                folder.log(f"[Run {draw}] {trainer.pool.describe()}")
            stop = trainer.fit(folder, stopping, save, advance)
            if first and (draw == 1 or job.config.save_weights == "all"):
                _save_weights(job, material, trainer)
            history.finished.append(trainer.result)
            save(None)
            job.accelerator.free_memory()
            if stop and draw < len(job.task.support_rows):
                raise Stopped(folder.path)


def _epochs_left(job: AdaptJob, history: DrawHistory) -> int:
    first, trainer = job.config.start_epoch, history.trainer
    draws = len(job.task.support_rows) - len(history.finished)
    done = trainer["epoch"] - first if trainer is not None else 0
    return int(draws * (job.config.epochs - first) - done)


def _trainer(job: AdaptJob, material: Material, draw: int) -> Trainer:
    """That of `draw`, before its first epoch."""
    rows = job.task.support_rows[draw - 1]
    support = LabelledInputs(material.train[rows], job.task.train_labels[rows])
    linear = material.backbone is not None
    model = job.source.head(draw) if linear else job.source.recognizer(draw)
    pool = material.pools.pool(draw) if material.pools is not None else None
    inputs = DrawInputs(draw, support, material.test, pool)
    return Trainer(inputs, model, job.config, job.accelerator, job.least)


def _save_weights(job: AdaptJob, material: Material, trainer: Trainer) -> None:
    """The final model of a draw and, with --ema, of its averaged weights."""
    models = {"": trainer.model}
    if trainer.average is not None:
        models["_ema"] = trainer.average.module
    support = None
    for suffix, model in models.items():
        if isinstance(model, nn.Linear):
            assert material.backbone is not None
            head, model = model, Recognizer(material.backbone, len(job.task.classes))
            model.head = head
            assert isinstance(trainer.train.inputs, Tensor)
            features, labels = trainer.train.inputs, trainer.train.labels
            support = Support(features.float().cpu().numpy(), labels.cpu().numpy())
        path = job.folder.path / "weights" / f"draw_{trainer.draw}{suffix}.safetensors"
        save_model(path, merged(model), job.source.card(), support)


def _summarize(job: AdaptJob, history: DrawHistory) -> Summary:
    config, task, results = job.config, job.task, history.finished
    report = job.source.report
    last, averaged, best = score_draws(results, task.classes)
    return Summary(
        mode=mode_of(config),
        setting=setting_of(config, test_left_out=report is None or report.test_left_out),
        data=str(config.data),
        classes=list(task.classes),
        train_pictures=len(task.train_labels),
        test_pictures=len(task.test_labels),
        skipped_pictures=len(task.loaded.skipped),
        arch=config.arch,
        pretrained=config.pretrained,
        pretrained_sha256=report.sha256 if report else None,
        image_size=config.image_size,
        shot=task.draws.shot,
        imbalance=task.draws.imbalance,
        seed=task.draws.seed,
        num_draws=len(results),
        epochs=config.epochs,
        hardware=hardware(job.accelerator.device),
        processes=job.accelerator.num_processes,
        seconds=history.clock.seconds,
        last_epoch=last,
        ema_last_epoch=averaged,
        pseudo_labels=[r.pseudo_labels for r in results if r.pseudo_labels is not None] or None,
        pseudo_right=[r.pseudo_right for r in results if r.pseudo_right is not None] or None,
        best_on_test=best,
    )
