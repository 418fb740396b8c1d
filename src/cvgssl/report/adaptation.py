"""What a finished few-shot job shows: a table, a confusion matrix, learning curves."""

from pathlib import Path

import numpy as np

from cvgssl.adapt.summary import Scores, Summary
from cvgssl.heads.metrics import chance
from cvgssl.report.figures import confusion_figure, learning_curves
from cvgssl.report.terminal import print_table
from cvgssl.runtime.run import SUMMARY, RunFolder

CONFUSION, CURVES = "confusion.png", "curves.png"


def print_summary(folder: Path, summary: Summary) -> None:
    """Print the last epoch's figures over the draws, then per class, then where the run is."""
    weights = {"last epoch": summary.last_epoch}
    if summary.ema_last_epoch is not None:
        weights["last epoch, averaged weights"] = summary.ema_last_epoch
    rows = [_row(name, scores) for name, scores in weights.items()]
    best = summary.best_on_test
    rows.append(["best epoch on test (optimistic: chosen with it)", str(best), _std(best.std), ""])
    print()
    print_table(_title(summary), ["", "accuracy %", "std", "macro-recall %"], rows)
    print("± is the half width of the 95 % interval over the draws; std is over the draws")
    guessing = chance(len(summary.classes))
    print(f"guessing among {len(summary.classes)} classes has a macro-recall of {guessing:.2f} %\n")
    recalls = [
        [name, "–" if value is None else f"{value:.1f}"]
        for name, value in summary.last_epoch.class_recall.items()
    ]
    print_table("Recall per class, last epoch", ["class", "recall %"], recalls)
    print(f"\n{summary.seconds:.0f} s on {summary.hardware}; everything is in {folder}")


def write_figures(folder: Path, summary: Summary) -> None:
    """Draw the confusion matrix (summed over the draws) and the learning curves as PNG."""
    title = _title(summary)
    counts = np.array(summary.last_epoch.confusion)
    confusion_figure(counts, summary.classes, folder / CONFUSION, title)
    learning_curves(RunFolder(folder, writes=False).rows(), folder / CURVES, title)


def lacks_figures(folder: Path) -> bool:
    """Whether a run is finished, but was killed before its figures were drawn."""
    drawn = all((folder / name).is_file() for name in (CONFUSION, CURVES))
    return (folder / SUMMARY).is_file() and not drawn


def _title(summary: Summary) -> str:
    shots = f"{summary.shot} per class" if summary.shot is not None else "given draws"
    start = Path(summary.pretrained).name or "from scratch"
    return (
        f"{Path(summary.data).name}: {summary.mode}, {summary.arch}, {start}, {shots}, "
        f"{summary.num_draws} draws, {summary.setting}"
    )


def _row(name: str, scores: Scores) -> list[str]:
    return [name, str(scores.accuracy), _std(scores.accuracy.std), str(scores.macro_recall)]


def _std(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
