"""What all draws together say: the last epoch first, the optimistic figure marked as such."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydantic

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig
from cvgssl.adapt.training import DrawResult
from cvgssl.heads.metrics import (
    INDUCTIVE,
    SEMI_SUPERVISED,
    MeanInterval,
    accuracy,
    macro_recall,
    mean_interval,
    recalls,
)
from cvgssl.runtime.parsing import parsing, read_text

MAYBE_TRANSDUCTIVE = "transductive if pre-training saw these test pictures"


@dataclass(frozen=True)
class Scores:
    """Figures of one set of weights over the draws, per cent.

    by_draw: accuracy and macro-recall of each, for paired comparisons.
    class_recall: mean recall of each class (None: no test pictures).
    confusion: counts [K, K] summed over the draws, row true class.
    """

    accuracy: MeanInterval
    macro_recall: MeanInterval
    class_recall: dict[str, float | None]
    by_draw: list[dict[str, float]]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Summary:
    """A finished job, as in summary.json.

    setting: `inductive`: each test picture is classified independently; `semi-supervised`: the
        same, but unlabelled training pictures were used.
    last_epoch: the headline. ema_last_epoch: the same of averaged weights, if there are any.
    best_on_test: mean over the draws of the best epoch's accuracy, chosen by looking at the test
        pictures: optimistic, printed because published logs have it.
    pseudo_labels, pseudo_right: pseudo-labelled pictures trained on in each draw, and how many of
        their labels agree with the class folders, per cent; None without them.
    """

    mode: str
    setting: str
    data: str
    classes: list[str]
    train_pictures: int
    test_pictures: int
    skipped_pictures: int
    arch: str
    pretrained: str
    pretrained_sha256: str | None
    image_size: int
    shot: int | None
    imbalance: float | None
    seed: int | None
    num_draws: int
    epochs: int
    hardware: str
    processes: int
    seconds: float
    last_epoch: Scores
    ema_last_epoch: Scores | None
    best_on_test: MeanInterval
    pseudo_labels: list[int] | None = None
    pseudo_right: list[float] | None = None


def read_summary(path: Path) -> Summary:
    """The summary.json of a finished run; raises UserError."""
    text = read_text(path, "a run's summary")
    with parsing(path, "a run's summary"):
        return pydantic.TypeAdapter(Summary).validate_json(text)


def scores(matrices: Sequence[list[list[int]]], classes: Sequence[str]) -> Scores:
    """Summarise one confusion matrix [K, K] per draw."""
    counts = [np.array(matrix, dtype=np.int64) for matrix in matrices]
    by_draw = [{"accuracy": accuracy(c), "macro_recall": macro_recall(c)} for c in counts]
    by_class = np.stack([recalls(c) for c in counts]).mean(axis=0)
    return Scores(
        mean_interval([each["accuracy"] for each in by_draw]),
        mean_interval([each["macro_recall"] for each in by_draw]),
        {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(classes, by_class, strict=True)
        },
        by_draw,
        sum(counts, np.zeros_like(counts[0])).tolist(),
    )


def score_draws(
    results: Sequence[DrawResult], classes: Sequence[str]
) -> tuple[Scores, Scores | None, MeanInterval]:
    """Last epoch, last epoch of averaged weights if any, and best on test, over the draws."""
    averaged = [r.ema_confusion for r in results if r.ema_confusion is not None]
    return (
        scores([r.confusion for r in results], classes),
        scores(averaged, classes) if averaged else None,
        mean_interval([r.best_accuracy for r in results]),
    )


def mode_of(config: AdaptConfig) -> str:
    """What was done, for titles and tables."""
    if not isinstance(config, FinetuneConfig):
        return "linear evaluation"
    part = [config.trainable] if config.trainable != "all" else []
    part += ["pseudo-labels"] if config.pseudo_labels else []
    return "fine-tuning" + (f" ({', '.join(part)})" if part else "")


def setting_of(config: AdaptConfig, test_left_out: bool) -> str:
    """What was known beside the labelled pictures.

    test_left_out: whether the weights that training began with surely have not seen test/.
    """
    if not test_left_out:
        return MAYBE_TRANSDUCTIVE
    semi_supervised = isinstance(config, FinetuneConfig) and config.pseudo_labels
    return SEMI_SUPERVISED if semi_supervised else INDUCTIVE
