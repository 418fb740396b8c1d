"""`cvgssl fit DATA --encoder SPEC --labels FILE`: a recognizer without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.cli.command import Command
from cvgssl.recognizer.config import FitConfig
from cvgssl.runtime.parsing import counted, printable

if TYPE_CHECKING:
    from cvgssl.recognizer.fit import FitSummary
    from cvgssl.recognizer.on_test import OnTest

MISTAKES = 5  # pairs of classes that are shown


COMMAND = Command(FitConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Fit, write the folder, print how good it is and what comes next."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.api import fit

    folder, summary = fit(config)
    print_fit(folder, summary)
    return 0


def print_fit(folder: Path, summary: "FitSummary") -> None:
    """How good a recognizer is, and what comes next."""
    from cvgssl.heads.metrics import chance
    from cvgssl.report.recognizer import PAGE

    print(
        f"{folder}: {summary.head} on {summary.labelled} labelled and {summary.unlabelled} "
        f"unlabelled train pictures, {len(summary.classes)} classes, by {summary.encoder}; "
        f"{summary.seconds:.1f} s"
    )
    if summary.decision is not None:
        print(summary.decision)
    if summary.mirror_images:
        print(
            "what learns from labels alone also sees "
            f"{counted(summary.mirror_images, 'mirror image')} of each labelled picture; where a "
            "defect's direction is its class, say --support-flips none"
        )
    print("probabilities take all classes as equally frequent")
    if summary.labelled == len(summary.classes):
        print("one label per class: none can be held out, so how sure it is is a guess")
    if summary.test is None:
        print(f"no labelled test pictures; {summary.held_out}")
        no_better = summary.held_out.no_better
    else:
        _print_test(summary.test, summary)
        print(f"recall of each class and the mistakes: {folder / PAGE}")
        no_better = summary.test.macro_recall_interval[0] <= chance(len(summary.classes))
    if no_better:
        print(
            "this does not show that it is better than guessing: label more pictures (`cvgssl "
            "select` chooses them); where defects are small, compare a larger --image-size and "
            "other encoders"
        )
    print(f"classify new pictures: cvgssl predict {folder} PICTURES")


def _print_test(test: "OnTest", summary: "FitSummary") -> None:
    from cvgssl.heads.metrics import chance

    print(
        f"test pictures ({test.pictures}, {summary.setting}, each classified independently; "
        f"nothing was learned from them): macro-recall {test.macro_recall:.2f} %, "
        f"accuracy {test.accuracy:.2f} %; guessing among {len(summary.classes)} classes has a "
        f"macro-recall of {chance(len(summary.classes)):.2f} %"
    )
    (low, high), (least, most) = test.macro_recall_interval, test.accuracy_interval
    print(
        f"95 % intervals over the test pictures: macro-recall {low:.2f} to {high:.2f} %, accuracy "
        f"{least:.2f} to {most:.2f} %"
    )
    pairs = [
        (count, f"{true} as {named} {count}")
        for true, row in zip(summary.classes, test.confusion, strict=True)
        for named, count in zip(summary.classes, row, strict=True)
        if named != true and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    if pairs:
        shown = ", ".join(words for _, words in pairs[:MISTAKES])
        print(f"mistaken: {printable(shown)}{', ...' if len(pairs) > MISTAKES else ''}")
