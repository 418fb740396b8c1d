"""A month of arriving pictures: another lamp, a new kind of defect, and what the answers cost."""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from station_labels import POOL, Floats, Ints, in_rounds, oracle

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.heads import HEADS, OpenSetHead
from cvgssl.heads.change import ChangeDetector
from cvgssl.heads.change_reference import Reference
from cvgssl.selection.strategies import surroundings

LAMP_AT, NEW_AT = 0.4, 0.6
SETTLE = 200  # pictures after an alarm until the preparation is centred again
TAUGHT = (1, 3)  # labels of the new kind


@dataclass(frozen=True)
class Arrivals:
    """M pictures in the order in which they come. values: embeddings. new: of the new kind."""

    values: NDArray[np.float32]
    light: Floats
    truth: Ints
    lamp_at: int
    new_at: int

    def __len__(self) -> int:
        return len(self.truth)


def month(
    table: FeatureTable,
    lamp: FeatureTable,
    lights: list[Floats],
    args: argparse.Namespace,
    run: int,
    count: int,
) -> dict[str, Any]:
    """One run with so many labels."""
    rng = np.random.default_rng([run, 3])
    new, good = table.classes.index(args.new), table.classes.index("good")
    known = rng.permutation(np.flatnonzero(table.labels != new))
    pool_rows, others = np.sort(known[:POOL]), known[POOL:]
    pool = table.take(pool_rows)
    told = oracle(pool.labels, len(table.classes), rng)
    told[told == new] = good  # nobody knows its name yet
    preparation = Preparation(blocks=table.blocks).fit(pool.values)
    rows = preparation.transform(pool.values)
    picked = in_rounds(rows, told, surroundings(rows.astype(np.float32)), count)
    labels = np.full(POOL, UNLABELLED)
    labels[picked] = told[picked]
    head = OpenSetHead(HEADS["auto"]()).fit(rows, labels)
    reference = Reference(rows)
    coming = arrivals(table, lamp, lights, others, np.flatnonzero(table.labels == new), rng, args)
    quiet = arrivals(table, table, [lights[0]] * 2, others, np.zeros(0, np.intp), rng, args)
    prepared = preparation.transform(coming.values)
    answers, named = named_by(head, prepared)
    calm = preparation.transform(quiet.values)
    alarms = watched(reference.measure(prepared, coming.light).values, named)
    facts = {
        "run": run,
        "labels": count,
        "classes known": [table.classes[at] for at in head.classes_],
        "arrivals": len(coming),
        "lamp at": coming.lamp_at,
        "new at": coming.new_at,
        "alarms": alarms,
        "alarms without a change": watched(
            reference.measure(calm, quiet.light).values, head.predict_proba(calm).argmax(axis=1)
        ),
    }
    parts = {
        "before": slice(0, coming.lamp_at),
        "lamp": slice(coming.lamp_at, coming.new_at),
        "lamp and new kind": slice(coming.new_at, len(coming)),
    }
    facts["answers"] = {
        name: costs(answers[part], coming.truth[part], good, new) for name, part in parts.items()
    }
    noticed = next((each for each in alarms if each["number"] > coming.lamp_at), None)
    if noticed is not None:
        since = slice(noticed["since"] - 1, noticed["number"] + SETTLE)
        after = slice(noticed["number"] + SETTLE, len(coming))
        centred = recentred(preparation, coming.values[since]).transform(coming.values[after])
        again, truth = named_by(head, centred)[0], coming.truth[after]
        facts["after the alarm"] = {
            "as it was": costs(answers[after], truth, good, new),
            "re-centred": costs(again, truth, good, new),
        }
        facts["new kind"] = taught(rows, labels, centred, again, truth, good, new)
    return facts


def named_by(head: OpenSetHead, rows: Floats) -> tuple[NDArray[Any], Ints]:
    """Answers [M] with "unknown" and "not sure", and the places of the likeliest classes [M]."""
    with graph_cache():  # the map of the same rows, for each of them
        return head.answers(rows), head.predict_proba(rows).argmax(axis=1)


def arrivals(
    table: FeatureTable,
    lamp: FeatureTable,
    lights: list[Floats],
    others: NDArray[np.intp],
    newcomers: NDArray[np.intp],
    rng: np.random.Generator,
    args: argparse.Namespace,
) -> Arrivals:
    """Known kinds in a random order; the new one among the last 40 %, the lamp for 60 %."""
    count = min(args.arrivals, len(others) + len(newcomers))
    lamp_at, new_at = round(LAMP_AT * count), round(NEW_AT * count)
    known = rng.permutation(others)[: count - len(newcomers)]
    last = rng.permutation(np.concatenate([known[new_at:], newcomers]))
    order = np.concatenate([known[:new_at], last])
    values, light = table.values[order].copy(), lights[0][order].copy()
    values[lamp_at:], light[lamp_at:] = lamp.values[order[lamp_at:]], lights[1][order[lamp_at:]]
    return Arrivals(values, light, table.labels[order], lamp_at, new_at)


def watched(values: Floats, named: Ints) -> list[dict[str, Any]]:
    """All alarms: kind, after which picture, since which."""
    detector, alarms = ChangeDetector(), []
    for label, measured in zip(named.tolist(), values, strict=True):
        alarm = detector.observe(label, measured)
        if alarm is not None:
            alarms.append(
                {"kind": alarm.kind, "words": alarm.words, "number": alarm.number}
                | {"since": alarm.since}
            )
    return alarms


def costs(answers: NDArray[Any], truth: Ints, good: int, new: int) -> dict[str, Any]:
    """What the answers are worth, per cent: of good parts, of known defects, of the new kind."""
    asked = np.isin(answers, ("unknown", "not sure"))
    named = np.where(asked, -1, answers).astype(np.int64)
    groups = {
        "good": truth == good,
        "known defects": (truth != good) & (truth != new),
        "new kind": truth == new,
    }
    figures: dict[str, Any] = {}
    for name, members in groups.items():
        total = int(members.sum())
        if not total:
            continue
        passed = named[members] == good
        figures[name] = {
            "pictures": total,
            "called good": share(passed),
            "called a defect": share((named[members] >= 0) & ~passed),
            "asks": share(asked[members]),
        }
    figures["right without asking"] = share(named == truth)
    figures["asks"] = share(asked)
    return figures


def share(flags: NDArray[np.bool_]) -> float:
    """Per cent."""
    return round(100 * float(np.mean(flags)), 1)


def recentred(preparation: Preparation, values: NDArray[np.float32]) -> Preparation:
    """The same scale around the mean of these pictures, which nobody labelled."""
    moved = Preparation(preparation.mode, preparation.blocks).fit(values)
    moved.learned_ = [
        old._replace(mean=new.mean)
        for old, new in zip(preparation.learned_, moved.learned_, strict=True)
    ]
    return moved


def taught(
    rows: Floats,
    labels: Ints,
    others: Floats,
    answers: NDArray[Any],
    truth: Ints,
    good: int,
    new: int,
) -> dict[str, Any]:
    """When a picture of the new kind is first asked about, and its recall after its first labels.

    rows, labels: of the pool. others, answers, truth: of the pictures after the alarm.
    """
    asked = np.isin(answers, ("unknown", "not sure"))
    places = np.flatnonzero(asked & (truth == new))
    facts: dict[str, Any] = {
        "pictures": int((truth == new).sum()),
        "not asked about before the first that is": int((truth[: places[0]] == new).sum())
        if len(places)
        else None,
    }
    for number in TAUGHT:
        if len(places) <= number:
            break
        learned = places[:number]
        more = np.concatenate([rows, others[learned]])
        target = np.concatenate([labels, np.full(number, new)])
        grown = OpenSetHead(HEADS["auto"]()).fit(more, target)
        after = slice(int(learned[-1]) + 1, None)
        told, left = named_by(grown, others[after]), truth[after]
        facts[f"{number} labels"] = {
            "recall": share(grown.classes_[told[1]][left == new] == new),
            "answers": costs(told[0], left, good, new)["new kind"],
        }
    return facts
