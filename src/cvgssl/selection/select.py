"""From a table of features, and what has been labelled, to the pictures to label next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable
from cvgssl.heads.linear import KernelRidge
from cvgssl.heads.open_set import CalibratedHead
from cvgssl.images.assemble import normal
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import write_json
from cvgssl.runtime.parsing import counted
from cvgssl.selection.candidates import UNLABELLED, Candidates, Picked
from cvgssl.selection.config import StrategyName
from cvgssl.selection.held_out import HeldOutLabels, held_out_labels, suspected_labels
from cvgssl.selection.label_list import UNSURE, LabelLine, write_labels
from cvgssl.selection.outlook import Outlook, outlook
from cvgssl.selection.strategies import STRATEGIES

LIST, FACTS = "selection.csv", "selection.json"


@dataclass(frozen=True)
class Selection:
    """What to label next.

    kept: pictures with the labels that they had before, "?" included, in the order given.
    chosen: names of new pictures, the one to label first at the head. scores: of each of them.
    train_pictures: how many there are to choose from, with those labelled before.
    outlook: what the labels so far say of further ones; None without labels.
    held_out: what they say of each other; None without labels.
    suspected: pictures whose label the others contradict, their label, and what the others say.
    """

    kept: tuple[tuple[str, str], ...]
    chosen: tuple[str, ...]
    scores: tuple[float, ...]
    train_pictures: int
    outlook: Outlook | None = None
    held_out: HeldOutLabels | None = None
    suspected: tuple[tuple[str, str, str], ...] = ()


def select(
    table: FeatureTable,
    budget: int,
    strategy: StrategyName = "medoids",
    labelled: Sequence[LabelLine] = (),
    seed: int = 0,
) -> Selection:
    """Choose `budget` train pictures of `table` to be labelled.

    Test pictures and the table's own labels are not looked at. labelled: lines of an earlier list;
    those without label count as any other picture, those with "?" are not chosen again.
    The order of pictures in the table changes nothing. Raises UserError when the list names
    pictures that are not in train/, or when fewer than `budget` are left.
    """
    train = table.split("train")
    train = train.take(np.argsort(np.array(train.names, dtype=object), kind="stable"))
    if not len(train):
        raise UserError("DATA: has no train pictures; test pictures are never chosen")
    kept = tuple((line.path, normal(line.label)) for line in labelled if line.label)
    candidates, classes = _candidates(train, table, kept)
    left = int((~candidates.closed).sum())
    if budget > left:
        raise UserError(
            f"--budget {budget}: {left} of {len(candidates)} train pictures are not labelled yet; "
            f"{'ask for fewer' if left else 'there is nothing to choose'}"
        )
    picked = _pick(strategy, candidates, budget, seed)
    places = {name: row for row, name in enumerate(train.names)}
    with_class = [places[name] for name, label in kept if label != UNSURE]
    chosen = tuple(train.names[row] for row in picked.order)
    scores = tuple(map(float, picked.scores))
    if not with_class:
        return Selection(kept, chosen, scores, len(candidates))
    rows = np.array(with_class)
    target = candidates.labels[rows]
    head = CalibratedHead(KernelRidge()).fit(candidates.rows[rows], target)
    held_out = held_out_labels(head, target)
    suspected = tuple(
        (train.names[rows[suspect.row]], classes[suspect.label], classes[suspect.instead])
        for suspect in suspected_labels(head, target)
    )
    seen = outlook(candidates, with_class)
    return Selection(kept, chosen, scores, len(candidates), seen, held_out, suspected)


def write_selection(selection: Selection, folder: Path, facts: dict[str, Any]) -> None:
    """Write selection.csv, to be filled in, and selection.json with `facts` and scores."""
    new = tuple((name, "") for name in selection.chosen)
    write_labels(selection.kept + new, folder / LIST)
    chosen = [
        {"path": name, "score": score}
        for name, score in zip(selection.chosen, selection.scores, strict=True)
    ]
    counts = {"train_pictures": selection.train_pictures, "labelled_before": len(selection.kept)}
    by_labels: dict[str, Any] = {}
    if selection.outlook is not None and selection.held_out is not None:
        by_labels = {"outlook": asdict(selection.outlook), "held_out": asdict(selection.held_out)}
        by_labels["suspected"] = [
            dict(zip(("path", "label", "instead"), each, strict=True))
            for each in selection.suspected
        ]
    write_json(folder / FACTS, facts | counts | by_labels | {"chosen": chosen})


def _candidates(
    train: FeatureTable, table: FeatureTable, kept: Sequence[tuple[str, str]]
) -> tuple[Candidates, list[str]]:
    """With the labels of a list, and its classes."""
    places = {name: row for row, name in enumerate(train.names)}
    _check_known([name for name, _ in kept], places, table)
    classes = sorted({label for _, label in kept} - {UNSURE})
    labels = np.full(len(train), UNLABELLED, dtype=np.int64)
    closed = np.zeros(len(train), dtype=np.bool_)
    for name, label in kept:
        closed[places[name]] = True
        if label != UNSURE:
            labels[places[name]] = classes.index(label)
    rows = Preparation(blocks=train.blocks).fit_transform(train.values)
    return Candidates(rows.astype(np.float32), labels, closed), classes


def _check_known(names: Sequence[str], places: dict[str, int], table: FeatureTable) -> None:
    strange = [name for name in names if name not in places]
    if not strange:
        return
    test = set(table.split("test").names).intersection(strange)
    named = counted(len(test), "test picture") if test else counted(len(strange), "picture")
    named += "" if test else " not in DATA"
    raise UserError(
        f"--labels: names {named}, the first "
        f"{next(name for name in strange if not test or name in test)}; "
        "only train pictures are labelled here"
    )


def _pick(strategy: StrategyName, candidates: Candidates, budget: int, seed: int) -> Picked:
    try:
        return STRATEGIES[strategy](candidates, budget, seed)
    except UserError as error:  # no library for a graph of this many pictures
        raise UserError(f"{error}; or --strategy typiclust, which needs no graph") from error
