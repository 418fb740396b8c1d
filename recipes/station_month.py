"""A month of a line on which people label by the station: what labels bring, when changes show.

    cvgssl data synth PLANT --good-share 0.9 --defect-area 0.1 --parts 22000 --format png \\
        --test-fraction 0.01
    python recipes/lamp.py PLANT PLANT-LAMP
    cvgssl embed PLANT --out plant.npz
    cvgssl embed PLANT-LAMP --out plant-lamp.npz
    python recipes/station_month.py plant.npz plant-lamp.npz PLANT PLANT-LAMP --json out.json

The pool has 2000 pictures (two thirds where there are fewer than 3000), drawn for each of --repeat
runs; others arrive afterwards. An oracle labels; 2 % of its labels are wrong (any other class).
Test pictures of PLANT are not opened.

Labels: chosen as the station does (`medoids` in rounds of six), by one `cvgssl select` of as many
(a CSV that is filled in), or at random. The recognizer is the head of `cvgssl fit`, `auto`, without
mirror images. Figures: classes found, accuracy and macro-recall on the pictures that are not in the
pool, per cent, mean and half width of the 95 % interval (t over runs).

Month: one kind of defect (--new) is neither in the pool nor among the first pictures. It comes
after 60 % of the pictures that arrive, the lamp changes after 40 %. The recognizer says "unknown"
and "not sure" (`predict --unknown`), which asks a person for a label. Alarms are those of `predict
--watch --alarm`, one false alarm in 100,000 pictures. After the alarm of the lamp the preparation
is centred again, by the unlabelled pictures since the date that the alarm gives.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.graph_cache import graph_cache
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import UNLABELLED, FeatureTable, load_features
from cvgssl.heads import HEADS, CalibratedHead, OpenSetHead
from cvgssl.heads.change import ChangeDetector
from cvgssl.heads.change_reference import Reference, light_of
from cvgssl.heads.metrics import confusion, macro_recall, mean_interval
from cvgssl.images.decoding import decode_bytes
from cvgssl.images.geometry import Geometry
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.selection.candidates import Candidates, Surroundings
from cvgssl.selection.strategies import STRATEGIES, surroundings
from cvgssl.station.label_queue import ROUND

POOL, WRONG = 2000, 0.02
LABELS = (6, 12, 24, 48, 96)
MONTH_LABELS = (24, 96)
LAMP_AT, NEW_AT = 0.4, 0.6
SETTLE = 200  # pictures after an alarm until the preparation is centred again
TAUGHT = (1, 3)  # labels of the new kind
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def main() -> None:
    """Run both parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name in ("features", "lamp_features", "plant", "lamp_plant"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="for the first part")
    parser.add_argument("--new", default="scratches")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--months", type=int, default=3, help="runs of the second part")
    parser.add_argument("--arrivals", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table, lamp = (
        load_features(path).part("train") for path in (args.features, args.lamp_features)
    )
    assert table.names == lamp.names, "the lamp's pictures are those of the plant"
    lights = [light_of_all(table, folder) for folder in (args.plant, args.lamp_plant)]
    curves: list[dict[str, Any]] = []
    months: list[dict[str, Any]] = []
    others = [load_features(path).part("train") for path in args.also]
    for run in range(args.repeat):
        for name, pictures in zip([args.features, *args.also], [table, *others], strict=True):
            for row in label_curves(pictures, run):
                curves.append({"pictures": name.stem} | row)
                print(*curves[-1].values(), flush=True)
        for count in MONTH_LABELS if run < args.months else ():
            months.append(month(table, lamp, lights, args, run, count))
            print(months[-1], flush=True)
        if args.json:  # after every run, for they take minutes
            write_json(args.json, result_of(curves, months, run + 1))
    for row in summed(curves):
        print(*row.values())


def result_of(
    curves: list[dict[str, Any]], months: list[dict[str, Any]], runs: int
) -> dict[str, Any]:
    """What is written."""
    return {"runs": runs, "labels": summed(curves), "months": months, "hardware": hardware()}


# what labels bring


def label_curves(table: FeatureTable, run: int) -> Iterator[dict[str, Any]]:
    """Figures of each way and number of labels."""
    rng = np.random.default_rng([run, 1])
    order, size = rng.permutation(len(table)), min(POOL, 2 * len(table) // 3)
    pool, query = table.take(np.sort(order[:size])), table.take(np.sort(order[size:]))
    preparation = Preparation(parts=table.parts).fit(pool.values)
    rows, queries = preparation.transform(pool.values), preparation.transform(query.values)
    told = oracle(pool.labels, len(table.classes), rng)
    around = surroundings(rows.astype(np.float32))
    with graph_cache():
        for way, order in (
            ("station", in_rounds(rows, told, around, LABELS[-1])),
            ("one list", at_one_go(rows, around, LABELS[-1])),
            ("random", rng.permutation(size)),
        ):
            for count in LABELS:  # a longer list begins as a shorter one
                picked = order[:count]
                labels = np.full(size, UNLABELLED)
                labels[picked] = told[picked]
                yield {"way": way, "labels": count} | judged(
                    rows, labels, queries, query.labels, pool.labels[picked], len(table.classes)
                )


def oracle(truth: Ints, classes: int, rng: np.random.Generator) -> Ints:
    """Labels of a person who is wrong about 2 % of the pictures."""
    other = (truth + rng.integers(1, classes, len(truth))) % classes
    return np.where(rng.random(len(truth)) < WRONG, other, truth)


def in_rounds(rows: Floats, told: Ints, around: Surroundings, count: int) -> NDArray[np.intp]:
    """As the station chooses: again after every sixth label."""
    labels = np.full(len(rows), UNLABELLED)
    order: list[int] = []
    while len(order) < count:
        codes = np.unique(labels[labels >= 0], return_inverse=True)[1]
        target = labels.copy()
        target[labels >= 0] = codes
        candidates = Candidates(rows.astype(np.float32), target, labels >= 0, around)
        more = STRATEGIES["medoids"](candidates, min(ROUND, count - len(order)), 0).order
        labels[more] = told[more]
        order += more.tolist()
    return np.array(order)


def at_one_go(rows: Floats, around: Surroundings, count: int) -> NDArray[np.intp]:
    """As `cvgssl select --budget`: a list to be filled in."""
    nothing = np.full(len(rows), UNLABELLED)
    candidates = Candidates(rows.astype(np.float32), nothing, nothing >= 0, around)
    return STRATEGIES["medoids"](candidates, count, 0).order


def judged(
    rows: Floats, labels: Ints, queries: Floats, truth: Ints, found: Ints, classes: int
) -> dict[str, float]:
    """Classes found (truly), accuracy and macro-recall on the queries."""
    head = CalibratedHead(HEADS["auto"]()).fit(rows, labels)
    counts = confusion(truth, head.predict(queries), classes)
    return {
        "found": float(len(np.unique(found))),
        "accuracy": 100 * float(np.trace(counts) / counts.sum()),
        "macro-recall": macro_recall(counts),
    }


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the runs and half widths of their 95 % intervals."""
    result = []
    keys = ("pictures", "way", "labels")
    for place in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        cell: dict[str, Any] = dict(zip(keys, place, strict=True))
        for name in ("found", "accuracy", "macro-recall"):
            values = [row[name] for row in rows if tuple(row[key] for key in keys) == place]
            interval = mean_interval(values)
            cell[name] = [round(interval.mean, 1), round(interval.ci95 or 0, 1)]
        result.append(cell)
    return result


# the month


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
    preparation = Preparation(parts=table.parts).fit(pool.values)
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
        anew, truth = named_by(head, centred)[0], coming.truth[after]
        facts["after the alarm"] = {
            "as it was": costs(answers[after], truth, good, new),
            "centred anew": costs(anew, truth, good, new),
        }
        facts["new kind"] = taught(rows, labels, centred, anew, truth, good, new)
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
    moved = Preparation(preparation.mode, preparation.parts).fit(values)
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


def light_of_all(table: FeatureTable, folder: Path) -> Floats:
    """`light_of` of every picture [N, 3]."""
    found = []
    for name in table.names:
        square = decode_bytes((folder / name).read_bytes(), Geometry(), 100, Path(name))
        assert square.pixels is not None, name
        found.append(light_of(square.pixels))
    return np.array(found)


if __name__ == "__main__":
    main()
