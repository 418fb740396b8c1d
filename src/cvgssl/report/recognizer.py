"""The page of a recognizer of `cvgssl fit`: how good it is on test/, its mistakes, what it is."""

from collections import Counter
from pathlib import Path

import numpy as np

from cvgssl import __version__
from cvgssl.heads.metrics import chance, wilson_interval
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import LABELS, FitSummary
from cvgssl.recognizer.on_test import TEST_ANSWERS, AnswerOnTest, OnTest, read_test_answers
from cvgssl.report.figures import confusion_figure
from cvgssl.report.gallery import pictures_below
from cvgssl.report.mistakes import SHOWN, Mistake, mistakes_figure
from cvgssl.report.page import Page
from cvgssl.runtime.options import to_yaml
from cvgssl.selection.label_list import read_labels

PAGE, CONFUSION, MISTAKES = "report.html", "confusion.png", "mistakes.jpg"
MOST_CLASSES = 60  # of a confusion matrix in which anything can be read
LISTED = 200  # mistakes; test.csv has all answers


def write_recognizer_page(config: FitConfig, folder: Path, summary: FitSummary) -> Path | None:
    """Draw the figures of the recognizer in `folder` and write its page beside them.

    Gives the page; None where no test picture has a label, so that nothing is known.
    """
    if summary.test is None:
        return None
    return recognizer_page(config, folder, summary, summary.test).write(folder / PAGE)


def recognizer_page(config: FitConfig, folder: Path, summary: FitSummary, test: OnTest) -> Page:
    """Draw the figures into `folder`; the page may be added to before it is written.

    test: that of `summary`. Only pictures below the data folder are shown.
    """
    page = Page(f"Recognizer of {config.data.resolve().name}")
    _figures(page, summary, test)
    _classes(page, folder, summary, test)
    _mistakes(page, config, folder, summary, test)
    page.heading("How it was made")
    page.text(
        f"{summary.encoder}, head {summary.head}, {summary.labelled} labelled and "
        f"{summary.unlabelled} unlabelled train pictures; cvgssl {__version__}."
    )
    if summary.decision is not None:
        for line in str(summary.decision).split("\n"):
            page.text(f"{line[0].upper()}{line[1:]}.")
    if summary.prompts is not None:
        page.table(
            ["class", "sentences that pictures are compared with"],
            [[name, " ".join(sentences)] for name, sentences in summary.prompts.items()],
            folded="what the classes are called",
        )
    page.code(to_yaml(config), "config.yaml")
    return page


def _figures(page: Page, summary: FitSummary, test: OnTest) -> None:
    page.heading("How good it is")
    page.table(
        ["on test/", "%", "95 % interval"],
        [
            ["macro-recall", f"{test.macro_recall:.1f}", _range(test.macro_recall_interval)],
            ["accuracy", f"{test.accuracy:.1f}", _range(test.accuracy_interval)],
            ["macro-recall of guessing", f"{chance(len(summary.classes)):.1f}", ""],
        ],
    )
    page.text(
        f"{test.pictures} test pictures, {summary.setting}, each classified independently; nothing "
        "was learned from them. The intervals are over the test pictures (accuracy and recalls: "
        "Wilson's; macro-recall: those of the classes combined); other labels would give other "
        "figures on top of that."
    )


def _classes(page: Page, folder: Path, summary: FitSummary, test: OnTest) -> None:
    labelled = Counter(line.label for line in read_labels(folder / LABELS, "labels"))
    rows = []
    shades: list[list[float | None]] = []
    for name, row, place in zip(
        summary.classes, test.confusion, range(len(summary.classes)), strict=True
    ):
        recall, total = test.class_recall[name], sum(row)
        interval = _range(wilson_interval(row[place], total)) if total else "–"
        shown = "–" if recall is None else f"{recall:.1f}"
        rows.append([name, str(labelled[name]), str(total), shown, interval])
        shades.append([None, None, None if recall is None else recall / 100, None])
    columns = ["class", "labels", "test pictures", "recall, %", "95 % interval"]
    page.table(columns, rows, shades=shades)


def _mistakes(
    page: Page, config: FitConfig, folder: Path, summary: FitSummary, test: OnTest
) -> None:
    page.heading("Misclassified pictures")
    wrong = [
        answer
        for answer in read_test_answers(folder / TEST_ANSWERS)
        if answer.predicted_class != answer.label
    ]
    if not wrong:
        page.text("No test picture.")
        return
    if len(summary.classes) <= MOST_CLASSES:
        path = folder / CONFUSION
        title = f"{len(wrong)} of {test.pictures} test pictures are misclassified"
        confusion_figure(np.array(test.confusion), summary.classes, path, title)
        page.image(path, "True classes in rows, predicted classes in columns.")
    wrong.sort(key=lambda answer: (-answer.probability, answer.name))
    _pictures(page, config, folder, wrong[:SHOWN])
    page.table(
        ["picture", "true class", "predicted class", "probability, %"],
        [[each.name, each.label, each.predicted_class, f"{100 * each.probability:.0f}"]
         for each in wrong[:LISTED]],
        folded="the list" if len(wrong) <= LISTED else f"the first {LISTED}",
    )  # fmt: skip


def _pictures(page: Page, config: FitConfig, folder: Path, wrong: list[AnswerOnTest]) -> None:
    """The misclassified pictures with the highest probabilities."""
    files, note = pictures_below(config.data, [each.name for each in wrong], "DATA")
    drawn = mistakes_figure(
        [Mistake(*each) for each in wrong],
        files,
        folder / MISTAKES,
        "misclassified, the highest probabilities first",
        config.max_megapixels,
    )
    if drawn:
        page.image(drawn, "True class in green, below it the predicted class and its probability.")
    if note:
        page.text(note)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f}"
