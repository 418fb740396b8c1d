"""Training on one draw: the loop that fine-tuning and linear evaluation share.

Fine-tuning gives it a Recognizer and uint8 pictures, linear evaluation a linear head and the
frozen backbone's features; nothing else differs. Shapes: N pictures, K classes.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cvgssl.adapt.batches import split_batches
from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.network import adaptation_optimizer, set_learning_rate, train_mode
from cvgssl.adapt.pseudo_labels import PoolBatch, PseudoLabelPool, beside
from cvgssl.encoders.forward import Inputs, forward_all, take
from cvgssl.heads.metrics import confusion
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import in_any_process
from cvgssl.runtime.run import RunFolder
from cvgssl.runtime.seeds import seed_for
from cvgssl.runtime.stopping import Stopped
from cvgssl.runtime.sync_batch_norm import synchronize_batch_norm
from cvgssl.runtime.trackers import track
from cvgssl.views.random_views import augmented_views

SNAPSHOT_EVERY = 60.0  # seconds; what a SIGKILL can cost


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs of N pictures (uint8 pixels or features) and their labels, int64 [N], on the CPU."""

    inputs: Inputs
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DrawInputs:
    """What one draw is trained and measured on.

    draw: its number, from 1. train: the support. pool: pictures with pseudo-labels beside it.
    """

    draw: int
    train: LabelledInputs
    test: LabelledInputs
    pool: PseudoLabelPool | None = None


@dataclass
class DrawResult:
    """What one draw ended with.

    confusion: counts [K, K] on test/ after the last epoch (row: true class), of the raw weights;
    ema_confusion: the same of the averaged weights, None without them.
    best_accuracy, best_epoch: highest accuracy on test/ of any evaluated epoch, per cent. It was
        chosen with the test pictures, so it is optimistic.
    pseudo_labels: pictures that were trained on with one, pseudo_right: how many of these agree
        with the class folders, per cent; None without them.
    """

    draw: int
    confusion: list[list[int]] = field(default_factory=list)
    ema_confusion: list[list[int]] | None = None
    best_accuracy: float = -1.0
    best_epoch: int = 0
    pseudo_labels: int | None = None
    pseudo_right: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Loss, accuracy in per cent and confusion counts [K, K] on the test pictures."""

    loss: float
    accuracy: float
    confusion: NDArray[np.int64]


class Trainer:
    """One draw's model, optimizer and averaged weights, from its first epoch to its last."""

    def __init__(
        self,
        inputs: DrawInputs,
        model: nn.Module,
        config: AdaptConfig,
        accelerator: Accelerator,
        least: int = 1,
    ) -> None:
        train, pool = inputs.train, inputs.pool
        self.draw, self.train, self.test, self.pool = inputs.draw, train, inputs.test, pool
        self.least = least  # labelled pictures of a batch
        self.config, self.accelerator = config, accelerator
        self.epoch = config.start_epoch  # the next one to train, from 0
        self.result = DrawResult(self.draw)
        if pool is not None:
            self.result.pseudo_labels = len(pool.guesses.rows)
            self.result.pseudo_right = pool.agreement
        if accelerator.scaler is not None:  # one for all draws; each begins with it as new
            new = torch.amp.GradScaler(accelerator.device.type)
            accelerator.scaler.load_state_dict(new.state_dict())
        model = model.to(accelerator.device)
        synchronize_batch_norm(model)
        self.model = model
        optimizer = adaptation_optimizer(model, config)
        self.wrapped, self.optimizer = accelerator.prepare(model, optimizer)
        self.average: AveragedModel | None = None
        if config.ema is not None:
            average = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    def fit(
        self,
        folder: RunFolder,
        stopping: Callable[[], bool],
        save: Callable[["Trainer"], None],
        advance: Callable[[int], None],
    ) -> bool:
        """Train to the last epoch, logging each; `save` is called now and then for resuming.

        stopping: says whether to end early. advance: takes the number of epochs just done.

        Gives whether any process was asked to stop in the last epoch. Raises Stopped, after
        saving, when that was in an earlier one.
        """
        epochs = self.config.epochs
        saved = time.monotonic()
        stop = False
        while self.epoch < epochs:
            set_learning_rate(self.optimizer, self.epoch, epochs)
            loss, correct = self._train_epoch()
            self.epoch += 1
            row: dict[str, Any] = {"draw": self.draw, "epoch": self.epoch}
            row |= {"train_loss": loss, "train_acc": correct}
            if not np.isfinite(loss):
                raise UserError(
                    f"draw {self.draw}, epoch {self.epoch}: the loss is {loss}; lower --lr or use "
                    "--precision fp32"
                )
            if self.epoch % self.config.eval_every == 0 or self.epoch == epochs:
                row |= self._evaluate()
            self._report(row, folder)
            advance(1)
            stop = in_any_process(self.accelerator, stopping())
            if stop or time.monotonic() - saved > SNAPSHOT_EVERY:
                save(self)
                saved = time.monotonic()
            if stop and self.epoch < epochs:
                raise Stopped(folder.path)
        folder.log(f"[Run {self.draw}] Best Val Acc: {self.result.best_accuracy:.2f}%")
        return stop

    def state(self) -> dict[str, Any]:
        """Everything needed to go on after the current epoch, for a snapshot."""
        average, scaler = self.average, self.accelerator.scaler
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average.state_dict() if average is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "result": json.dumps(asdict(self.result)),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to where `state` was taken."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.result = DrawResult(**json.loads(state["result"]))

    def _train_epoch(self) -> tuple[float, float]:
        """One pass over the support, with the pool's pictures.

        Gives the mean loss and the accuracy in per cent of the support.
        """
        config, device = self.config, self.accelerator.device
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        seed = seed_for(config.seed, "order", self.draw, self.epoch)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed_for(config.seed, "dropout", self.draw, self.epoch, rank))
        inputs = self._augmented()
        batches = split_batches(order, config.batch_size, self.least)
        train_mode(self.wrapped)
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        for rows, others in zip(batches, self._others(batches), strict=True):
            mine = rows[rank::world]
            labels = self.train.labels[mine].to(device)
            batch, size = take(inputs, mine, device), len(rows)
            if others is not None:
                size += len(others.labels)
                others = others.take(slice(rank, None, world))
                batch = _cat_pictures(batch, others.pixels.to(device))
            with self.accelerator.autocast():
                logits = self.wrapped(batch).float()
                logits, guessed = logits[: len(mine)], logits[len(mine) :]
                total = F.cross_entropy(
                    logits, labels, reduction="sum", label_smoothing=config.label_smoothing
                )
                loss = total if others is None else total + self._guessed_loss(guessed, others)
            # processes average their gradients, so each must weigh its sum by world / batch
            self.accelerator.backward(loss * world / size)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average is not None:
                self.average.update_parameters(self.model)
            sums[0] += total.detach()
            sums[1] += (logits.argmax(1) == labels).sum()
        loss, correct = self.accelerator.reduce(sums, "sum").tolist()
        return loss / len(self.train), 100 * correct / len(self.train)

    def _others(self, batches: Sequence[Tensor]) -> list[PoolBatch | None]:
        """The pool's pictures beside each of the epoch's batches."""
        if self.pool is None:
            return [None] * len(batches)
        assert isinstance(self.config, FinetuneConfig)
        counts = [beside(len(rows), self.config.labelled_share) for rows in batches]
        drawn = self.pool.drawn(sum(counts), self.draw, self.epoch, self.config)
        ends = np.cumsum(counts)
        return [drawn.take(slice(end - n, end)) for n, end in zip(counts, ends, strict=True)]

    def _guessed_loss(self, logits: Tensor, others: PoolBatch) -> Tensor:
        """Sum over pool pictures of cross-entropy times the probability of the pseudo-label."""
        labels, weights = others.labels.to(logits.device), others.weights.to(logits.device)
        smoothing = self.config.label_smoothing
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        return (each * weights).sum()

    def _augmented(self) -> Inputs:
        """The support's inputs for this epoch; views are drawn for all pictures, in their order."""
        if not (isinstance(self.config, FinetuneConfig) and self.config.augment):
            return self.train.inputs
        pixels = self.train.inputs
        assert not isinstance(pixels, Tensor)
        seed = seed_for(self.config.seed, "augment", self.draw)
        return augmented_views(torch.from_numpy(pixels), seed, self.epoch).numpy()

    def _evaluate(self) -> dict[str, float]:
        """Test loss and accuracy of the raw and averaged weights; keeps the confusion counts."""
        raw = self._evaluation(self.model)
        if raw.accuracy > self.result.best_accuracy:
            self.result.best_accuracy, self.result.best_epoch = raw.accuracy, self.epoch
        self.result.confusion = raw.confusion.tolist()
        row = {"test_loss": raw.loss, "test_acc": raw.accuracy}
        if self.average is not None:
            averaged = self._evaluation(self.average.module)
            self.result.ema_confusion = averaged.confusion.tolist()
            row |= {"ema_test_loss": averaged.loss, "ema_test_acc": averaged.accuracy}
        return row

    def _evaluation(self, model: nn.Module) -> Evaluation:
        logits = forward_all(
            model, self.test.inputs, self.config.eval_batch_size, self.accelerator
        ).cpu()
        predicted = logits.argmax(1)
        labels = self.test.labels
        return Evaluation(
            F.cross_entropy(logits, labels).item(),
            100 * (predicted == labels).float().mean().item(),
            confusion(labels.numpy(), predicted.numpy(), logits.shape[1]),
        )

    def _report(self, row: dict[str, Any], folder: RunFolder) -> None:
        """The published log lines, metrics.jsonl and the trackers."""
        head = f"[Run {self.draw}] Epoch [{row['epoch']}/{self.config.epochs}]"
        line = f"{head} Train Loss: {row['train_loss']:.4f}, Acc: {row['train_acc']:.2f}%"
        if "test_loss" in row:
            line += f" | Val Loss: {row['test_loss']:.4f}, Acc: {row['test_acc']:.2f}%"
        folder.log(line)
        if "ema_test_loss" in row:
            loss, value = row["ema_test_loss"], row["ema_test_acc"]
            folder.log(f"{head} EMA Val Loss: {loss:.4f}, Acc: {value:.2f}%")
        folder.metrics(row)
        values = {name: value for name, value in row.items() if name not in ("draw", "epoch")}
        track(self.accelerator, self.draw, row["epoch"], values)


def _cat_pictures(first: Tensor, second: Tensor) -> Tensor:
    """Pictures [B, C, S, S] one after another, gray ones as colour beside coloured ones."""
    channels = max(first.shape[1], second.shape[1])
    return torch.cat([pixels.expand(-1, channels, -1, -1) for pixels in (first, second)])
