"""The few-shot protocol: one training per draw, a summary; resumable anywhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
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
from cvgssl.adapt.lora import merged
from cvgssl.adapt.model_file import Support, save_model
from cvgssl.adapt.models import ModelSource
from cvgssl.adapt.network import Recognizer
from cvgssl.adapt.pseudo_labels import PseudoLabelSource
from cvgssl.adapt.summary import Summary, score_runs
from cvgssl.adapt.training import RunResult, Split, Trainer
from cvgssl.encoders.backbone import Backbone
from cvgssl.encoders.batches import forward_all
from cvgssl.images.splits import write_split
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.launch import launch
from cvgssl.runtime.options import to_dict
from cvgssl.runtime.progress import progress
from cvgssl.runtime.run import SNAPSHOT, SUMMARY, RunFolder, RunKind, open_run
from cvgssl.runtime.stopping import Stopped, stop_requests
from cvgssl.runtime.trackers import start_trackers

INDUCTIVE, SEMI_SUPERVISED = "inductive", "semi-supervised"
MAYBE_TRANSDUCTIVE = "transductive if pre-training saw these test pictures"


def adapt(config: AdaptConfig) -> tuple[Path, Summary]:
    """Fine-tune (FinetuneConfig) or train linear heads (LinearConfig) on every draw.

    Gives the run folder and the summary, which is there as summary.json too. Raises
    UserError before anything is written when data, weights or options do not fit, and Stopped
    after a signal (see `stop_requests`), when the folder can be resumed.
    """
    started = time.monotonic()
    accelerator = launch(config.gpu, config.precision, config.track)
    task = load_task(config, accelerator)
    source = ModelSource(config, task.classes, task.geometry)
    least = least_batch(config, task, source, accelerator.num_processes)
    folder = open_run(config, _kind(config, task), accelerator, partial(_write_draws, task))
    try:
        with stop_requests() as stopping:
            job = _Job(config, task, source, accelerator, folder, stopping, started, least)
            results = job.run_all()
        summary = _summarize(config, task, source, results, job.seconds(), accelerator)
        if accelerator.is_main_process:
            write_json(folder.path / SUMMARY, asdict(summary))
            (folder.path / SNAPSHOT).unlink(missing_ok=True)
    finally:
        accelerator.end_training()
        folder.close()
    return folder.path, summary


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


class _Job:
    """All runs of one folder."""

    def __init__(
        self,
        config: AdaptConfig,
        task: Task,
        source: ModelSource,
        accelerator: Accelerator,
        folder: RunFolder,
        stopping: Callable[[], bool],
        started: float,
        least: int,
    ) -> None:
        self.config, self.task, self.source, self.least = config, task, source, least
        self.accelerator, self.folder, self.stopping = accelerator, folder, stopping
        self.backbone: Backbone | None = None
        self.started = started

    def seconds(self) -> float:
        """Time spent on the job so far, before interruptions included."""
        return time.monotonic() - self.started

    def run_all(self) -> list[RunResult]:
        """Train on every draw, from where the folder's snapshot stands, if it has one."""
        snapshot = self.folder.load_snapshot()
        if snapshot is None:
            snapshot = {"finished": [], "trainer": None, "seconds": 0.0}
            self.folder.log(self.task.describe())
            self.folder.log(self.source.start)
            if self.source.trained:
                self.folder.log(self.source.trained)
        self.started -= snapshot["seconds"]
        finished = [RunResult(**result) for result in snapshot["finished"]]
        start_trackers(self.accelerator, self.folder.path, to_dict(self.config))
        train, test = self._inputs()
        pools = self._pools()
        with progress("epochs", self._epochs_left(snapshot), self._is_first) as advance:
            for run in range(len(finished) + 1, len(self.task.supports) + 1):
                rows = self.task.supports[run - 1]
                support = Split(train[rows], self.task.train_labels[rows])
                model = self._model(run)
                pool = pools.pool(run) if pools is not None else None
                trainer = Trainer(
                    run, model, support, test, self.config, self.accelerator, pool, self.least
                )
                if snapshot["trainer"] is not None:
                    trainer.load_state(snapshot["trainer"])
                    snapshot["trainer"] = None
                elif pool is not None:
                    self.folder.log(f"[Run {run}] {pool.describe()}")
                save = partial(self._save, finished)
                trainer.fit(self.folder, self.stopping, save, advance)
                if run == 1 or self.config.save_weights == "all":
                    self._save_weights(trainer)
                finished.append(trainer.result)
                self._save(finished, None)
                self.accelerator.free_memory()
        return finished

    @property
    def _is_first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def _epochs_left(self, snapshot: dict[str, Any]) -> int:
        first, trainer = self.config.start_epoch, snapshot["trainer"]
        runs = len(self.task.supports) - len(snapshot["finished"])
        done = trainer["epoch"] - first if trainer is not None else 0
        return int(runs * (self.config.epochs - first) - done)

    def _inputs(self) -> tuple[Any, Split]:
        """What models see: pictures, or features computed once for all runs and epochs.

        Gives the inputs of all training pictures, as an indexable array, and the test split.
        """
        train, test = self.task.loaded.train.pixels, self.task.loaded.test.pixels
        if isinstance(self.config, FinetuneConfig):
            return train, Split(test, self.task.test_labels)
        self.backbone = self.source.frozen().to(self.accelerator.device)
        needed = np.unique(np.concatenate(self.task.supports))
        total = len(needed) + len(test)
        with progress("features", total, self._is_first) as advance:

            def counted(n: int) -> None:
                advance(n)
                # several processes wait for each other here, and stop after the first epoch
                if self.accelerator.num_processes == 1 and self.stopping():
                    raise Stopped(self.folder.path)

            support, tested = (
                forward_all(
                    self.backbone, pixels, self.config.eval_batch_size, self.accelerator, counted
                ).cpu()
                for pixels in (train[needed], test)
            )
        # rows that no draw holds stay unset, so that draws index features and pictures alike
        features = support.new_full((len(train), support.shape[1]), float("nan"))
        features[needed] = support
        return features, Split(tested, self.task.test_labels)

    def _pools(self) -> PseudoLabelSource | None:
        if not (isinstance(self.config, FinetuneConfig) and self.config.pseudo_labels):
            return None
        return PseudoLabelSource(self.task, self.source, self.config, self.accelerator)

    def _model(self, run: int) -> nn.Module:
        if self.backbone is None:
            return self.source.recognizer(run)
        return self.source.head(run)

    def _save(self, finished: list[RunResult], trainer: Trainer | None) -> None:
        self.folder.save_snapshot(
            {
                "finished": [asdict(result) for result in finished],
                "trainer": trainer.state() if trainer else None,
                "seconds": self.seconds(),
            }
        )

    def _save_weights(self, trainer: Trainer) -> None:
        """The final model of a run and, with --ema, of its averaged weights."""
        if not self._is_first:
            return
        models = {"": trainer.model}
        if trainer.average is not None:
            models["_ema"] = trainer.average.module
        support = None
        for suffix, model in models.items():
            if isinstance(model, nn.Linear):
                assert self.backbone is not None
                head, model = model, Recognizer(self.backbone, len(self.task.classes))
                model.head = head
                assert isinstance(trainer.train.inputs, Tensor)
                support = Support(trainer.train.inputs, trainer.train.labels)
            path = self.folder.path / "weights" / f"run_{trainer.run}{suffix}.safetensors"
            save_model(path, merged(model), self.source.card(), support)


def _mode(config: AdaptConfig) -> str:
    """What was done, for titles and tables."""
    if not isinstance(config, FinetuneConfig):
        return "linear evaluation"
    part = [config.trainable] if config.trainable != "all" else []
    part += ["pseudo-labels"] if config.pseudo_labels else []
    return "fine-tuning" + (f" ({', '.join(part)})" if part else "")


def _setting(config: AdaptConfig) -> str:
    """What was known beside the labelled pictures, if the weights have not seen test/."""
    semi_supervised = isinstance(config, FinetuneConfig) and config.pseudo_labels
    return SEMI_SUPERVISED if semi_supervised else INDUCTIVE


def _summarize(
    config: AdaptConfig,
    task: Task,
    source: ModelSource,
    results: list[RunResult],
    seconds: float,
    accelerator: Accelerator,
) -> Summary:
    report = source.report
    last, averaged, best = score_runs(results, task.classes)
    return Summary(
        mode=_mode(config),
        setting=_setting(config) if report is None or report.held_out else MAYBE_TRANSDUCTIVE,
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
        draws=len(results),
        epochs=config.epochs,
        hardware=hardware(accelerator.device),
        processes=accelerator.num_processes,
        seconds=seconds,
        last_epoch=last,
        ema_last_epoch=averaged,
        pseudo_labels=[r.pseudo_labels for r in results if r.pseudo_labels is not None] or None,
        pseudo_right=[r.pseudo_right for r in results if r.pseudo_right is not None] or None,
        best_on_test=best,
    )
