"""What labels say of a pool: answers about its other pictures, and how far to believe them.

The head is kernel ridge regression of the labels: of those that are near to `auto` the fastest
(docs/station.md). The recognizer that answers is always made by `cvgssl fit`.

Shape letters: N pictures of the pool, K classes so far.
"""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.table import UNLABELLED
from cvgssl.heads import HEADS, CalibratedHead
from cvgssl.selection.candidates import Candidates
from cvgssl.selection.held_out import HeldOutLabels, Suspect, held_out_labels, suspected_labels
from cvgssl.selection.label_list import UNSURE
from cvgssl.selection.outlook import outlook
from cvgssl.station.labels import Label
from cvgssl.station.pool_rows import PoolRows

HEAD = "kernel-ridge"


@dataclass(frozen=True)
class LabellingState:
    """All fields are JSON values; shares are 0..1.

    Parameters
    ----------
    after : int
        Number of the last label event that it includes; -1 before anything was computed.
    pictures, labelled, unsure, open : int
        Of the pool: all, with a class, with "?", with neither.
    test : int
        Pictures below test/, which are not of the pool: they are for testing and get no labels.
    elsewhere : int
        Labels of pictures that the pool does not have (any more); they count nowhere here.
    head : str
        Which head classifies the pictures meanwhile.
    classes : tuple of dict
        name; labels, pictures: how many have that label, and that label or answer.
    outlook : dict or None
        Fields of `selection.outlook.Outlook` with `enough` (the stop sign) and `dominated`: classes
        believed missing (`unseen`) and what the last third of the labels changed, which is about
        what half as many more would change. None without labels.
    held_out : dict or None
        Fields of `selection.held_out.HeldOutLabels` with `too_few` and `no_better`: estimate of the
        accuracy and its 95 % interval, for pictures such as those that were labelled. None without
        labels.
    suspects : tuple of dict
        Labels that the others contradict, the most suspected first: picture, number of the label
        event, who, label; instead and probability: what the head says without that label.
    waiting : int
        Pictures that are chosen and that nobody has yet.
    preparing : bool
        Whether the first ones are still being chosen.
    problem : str or None
        Why the work in the background failed, in one line; it is tried again.
    seconds : float
        That the newest computation took.
    """

    after: int
    pictures: int
    labelled: int
    unsure: int
    open: int
    test: int
    elsewhere: int
    head: str = HEAD
    classes: tuple[dict[str, Any], ...] = ()
    outlook: dict[str, Any] | None = None
    held_out: dict[str, Any] | None = None
    suspects: tuple[dict[str, Any], ...] = ()
    waiting: int = 0
    preparing: bool = True
    problem: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class HeadAnswers:
    """Labels of the pool as numbers, and what the head says of all pictures.

    target: int64 [N], index of the label's class or -1. unsure: bool [N], labelled "?".
    probabilities: float64 [N, K], calibrated; of a labelled picture what the others say, where
    its class has two labels or more.
    """

    classes: tuple[str, ...]
    target: NDArray[np.int64]
    unsure: NDArray[np.bool_]
    probabilities: NDArray[np.float64]


def nothing_said(pool: PoolRows) -> tuple[LabellingState, HeadAnswers]:
    """Before anything was computed."""
    count = len(pool)
    target = np.full(count, UNLABELLED, dtype=np.int64)
    answers = HeadAnswers((), target, np.zeros(count, np.bool_), np.zeros((count, 0)))
    return LabellingState(-1, count, 0, 0, count, pool.test, 0), answers


def what_labels_say(
    pool: PoolRows, labels: list[Label], last: int
) -> tuple[LabellingState, HeadAnswers]:
    """Of the labels that count, in the order given, up to the event `last`."""
    begun, place = time.monotonic(), pool.place
    here = {place[label.picture]: label for label in labels if label.picture in place}
    named = {row: label for row, label in here.items() if label.label != UNSURE}
    classes = tuple(sorted({label.label for label in named.values()}))
    state, answers = nothing_said(pool)
    answers.unsure[[row for row in here if row not in named]] = True
    for row, label in named.items():
        answers.target[row] = classes.index(label.label)
    state = replace(
        state,
        after=last,
        labelled=len(named),
        unsure=len(here) - len(named),
        open=len(pool) - len(here),
        elsewhere=len(labels) - len(here),
    )
    if named:
        target, rows = answers.target, pool.coordinates(list(named))
        head = CalibratedHead(HEADS[HEAD]()).fit(rows, target)
        probabilities = head.label_distributions_.copy()
        # its own label would always be the likeliest, also where it is a mistake
        probabilities[head.held_out_rows_] = head.held_out_
        answers = replace(answers, classes=classes, probabilities=probabilities)
        seen = outlook(Candidates(rows.astype(np.float32), target, target >= 0), list(named))
        state = replace(
            state,
            classes=_classes(answers),
            outlook=asdict(seen) | {"enough": seen.enough, "dominated": seen.dominated},
            held_out=_estimate(held_out_labels(head, target)),
            suspects=_suspects(suspected_labels(head, target), classes, named),
        )
    return replace(state, seconds=round(time.monotonic() - begun, 3)), answers


def _classes(answers: HeadAnswers) -> tuple[dict[str, Any], ...]:
    target, count = answers.target, len(answers.classes)
    best = np.where(target >= 0, target, answers.probabilities.argmax(axis=1))
    given = np.bincount(target[target >= 0], minlength=count).tolist()
    answered = np.bincount(best, minlength=count).tolist()
    return tuple(
        {"name": name, "labels": own, "pictures": every}
        for name, own, every in zip(answers.classes, given, answered, strict=True)
    )


def _estimate(judged: HeldOutLabels) -> dict[str, Any]:
    return asdict(judged) | {"too_few": judged.too_few, "no_better": judged.no_better}


def _suspects(
    suspects: tuple[Suspect, ...], classes: tuple[str, ...], named: dict[int, Label]
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "picture": named[suspect.row].picture,
            "number": named[suspect.row].number,
            "who": named[suspect.row].who,
            "label": classes[suspect.label],
            "instead": classes[suspect.instead],
            "probability": round(suspect.probability, 4),
        }
        for suspect in suspects
    )
