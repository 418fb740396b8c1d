"""A recognizer's answers about the labelled test pictures, and figures on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cvgssl.features.table import SPLITS, UNLABELLED, FeatureTable
from cvgssl.heads.metrics import (
    accuracy,
    accuracy_interval,
    confusion,
    macro_recall,
    macro_recall_interval,
    recalls,
)
from cvgssl.images.names import text_form
from cvgssl.recognizer.head import FittedHead
from cvgssl.runtime.csv_files import read_rows
from cvgssl.runtime.csv_writing import write_rows

TEST_ANSWERS = "test.csv"
_COLUMNS = ("path", "label", "class", "probability")


class AnswerOnTest(NamedTuple):
    """A test picture by its name in the data set, its class, the predicted one, its probability."""

    name: str
    label: str
    predicted_class: str
    probability: float


@dataclass(frozen=True)
class OnTest:
    """Figures on the labelled test pictures, which the recognizer learned nothing from.

    accuracy, macro_recall: per cent, and their 95 % intervals over the test pictures (see
    `heads.metrics`); another draw of labels would differ on top of that.
    class_recall: by class; None without test pictures of it.
    confusion: counts [K][K], row true class.
    """

    pictures: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_recall: float
    macro_recall_interval: tuple[float, float]
    class_recall: dict[str, float | None]
    confusion: list[list[int]]


def ask_about_test(
    table: FeatureTable, head: FittedHead
) -> tuple[OnTest | None, list[AnswerOnTest]]:
    """Figures and answers on the labelled test pictures of `table`; None and [] without any."""
    test = table.split(SPLITS[1])
    test = test.take(np.flatnonzero(test.labels != UNLABELLED))
    if not len(test):
        return None, []
    probabilities, _ = head(test.values)
    predicted = probabilities.argmax(axis=1)
    answers = [
        AnswerOnTest(name, test.classes[label], test.classes[code], float(row[code]))
        for name, label, code, row in zip(
            test.names, test.labels, predicted, probabilities, strict=True
        )
    ]
    counts = confusion(test.labels, predicted, len(test.classes))
    by_class = zip(test.classes, recalls(counts), strict=True)
    figures = OnTest(
        len(test),
        accuracy(counts),
        accuracy_interval(counts),
        macro_recall(counts),
        macro_recall_interval(counts),
        {name: None if np.isnan(value) else float(value) for name, value in by_class},
        counts.tolist(),
    )
    return figures, answers


def write_test_answers(answers: Sequence[AnswerOnTest], path: Path) -> None:
    """Write path, label, class and probability of each picture."""
    write_rows(path, _COLUMNS, [(text_form(each.name), *each[1:]) for each in answers])


def read_test_answers(path: Path) -> list[AnswerOnTest]:
    """What `write_test_answers` wrote; raises UserError for anything else."""
    return [
        AnswerOnTest(row["path"], row["label"], row["class"], float(row["probability"]))
        for row in read_rows(path, _COLUMNS)
    ]
