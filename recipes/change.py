"""How rarely and how soon `predict --watch --alarm` reports a change, and what helps.

    cvgssl data synth plant --parts 2000 --good-share 0.9 --defect-area 0.05 \
        --format png --seed 5
    nice python recipes/change.py X-SDD NEU-CLS GC10-224 plant --draws 5 --work change \
        --json docs/results/change.json
    python recipes/change_tables.py docs/results/change.json     (the tables once more)

250 pictures of each set, drawn once, are changed: lamp (gain, gamma, gradient), focus (blur),
camera (rotation, zoom), noise. They and the others as they are are embedded by the default
encoder, once, into the folder `--work`. Each draw makes a third of the others the reference, 8
labels of each class in it make a head (kernel ridge), the rest comes as a stream in random order.

- false alarms: streams without a change, and streams whose second half has 15 % of the pictures of
  all classes but the commonest; `plant` also coil after coil, with --pictures-per-part 1, 10, 25.
- delay: the stream, then the changed pictures; with the default, one false alarm in 100,000.
- new defect: one class is neither in the reference nor in the first half of the stream; in the
  second it has a share of the pictures.
- strangeness: how odd the pictures of such a class are; and what a made-up one needs to be noticed.
- remedies: macro-recall on half of the changed pictures, where the other half is known
  without labels: nothing done; re-centred; 3 labels for the least sure or for random ones.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from change_tables import show
from changed_pictures import CHANGED, Draw, Set, Stream, head_of
from numpy.typing import NDArray

from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable
from cvgssl.heads.change import ChangeDetector
from cvgssl.heads.metrics import mean_interval
from cvgssl.images.surfaces.plan import Plant, plan_plant
from cvgssl.recognizer.recentring import recentred
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

SETTLING = 3  # labels of changed pictures
RARE_EVERY = 2000  # pictures between false alarms in the streams without a change
SHARES_OF_NEW = (0.1, 0.03)
SHARES_NEEDED, ODD = (0.3, 0.1, 0.03, 0.01), (0.0, 0.05, 0.2)
RUNS = (1, 10, 25)


def alarms(stream: Stream, every: float, seed: int, run: int = 1) -> list[Any]:
    detector = ChangeDetector(every / run, seed)
    chosen = stream[run - 1 :: run]
    return [found for one in chosen if (found := detector.observe(*one)) is not None]


def false_alarms(data: Set, draws: int) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = {"same": Counter(), "other shares": Counter()}
    seen = Counter[str]()
    for seed in range(draws):
        draw = data.draw(seed)
        stream, truth = draw.usual(draw.rest), data.table.labels[draw.rest]
        rng, half = np.random.default_rng(seed), len(stream) // 2
        common = np.bincount(data.table.labels).argmax()
        kept = (
            (truth == common) | (rng.random(len(stream)) < 0.15) | (np.arange(len(stream)) < half)
        )
        other = [one for one, keep in zip(stream, kept, strict=True) if keep]
        for word, pictures in (("same", stream), ("other shares", other)):
            seen[word] += len(pictures)
            counts[word].update(found.kind for found in alarms(pictures, RARE_EVERY, seed))
    return {word: rate(counts[word], seen[word]) for word in counts}


def coils(data: Set, draws: int) -> dict[str, Any]:
    """The plant coil after coil."""
    names = list(data.table.names)
    place = {
        f"{'test' if part.test else 'train'}/{part.label}/{part.name}.png": part.coil
        for part in plan_plant(Plant(good_share=0.9, parts=len(names)), 0.3, seed=5)
    }
    coil = np.array([place[name] for name in names])
    made = {}
    for run in RUNS:
        counts, seen = Counter[str](), 0
        for seed in range(draws):
            draw, rng = data.draw(seed), np.random.default_rng(seed)
            order = rng.permutation(coil.max() + 1)[coil[draw.rest]]
            rows = draw.rest[np.lexsort((rng.random(len(order)), order))]
            counts.update(found.kind for found in alarms(draw.usual(rows), RARE_EVERY, seed, run))
            seen += len(rows)
        made[str(run)] = rate(counts, seen)
    return made


def rate(counts: Counter[str], seen: int) -> dict[str, Any]:
    return {"pictures": seen, "allowed": seen / RARE_EVERY, "alarms": dict(counts)}


def delays(data: Set, draws: int) -> dict[str, Any]:
    made = {}
    for word, (table, light) in data.after.items():
        late, since, kinds = [], [], Counter[str]()
        before = []
        accuracy = []
        for seed in range(draws):
            draw = data.draw(seed)
            usual, order = draw.usual(draw.rest), np.random.default_rng(seed).permutation(CHANGED)
            found = alarms(usual + draw.stream(table.values, light, order), 100_000, seed)
            before.append(sum(each.number <= len(usual) for each in found))
            after = [each for each in found if each.number > len(usual)]
            late.append(after[0].number - len(usual) if after else None)
            if after:
                since.append(abs(after[0].since - len(usual) - 1))
                kinds[after[0].words] += 1
            accuracy.append(
                [
                    score(draw.head, draw.preparation.transform(rows), table.labels)
                    for rows in (data.table.values[data.changed], table.values)
                ]
            )
        known = sorted(each for each in late if each is not None)
        made[word] = {
            "before": len(usual),
            "false": sum(before),
            "noticed": len(known) / draws,
            "delay": known[len(known) // 2] if len(known) > draws / 2 else None,
            "dating_error": float(np.median(since)) if since else None,
            "words": dict(kinds),
            "accuracy": np.mean(accuracy, axis=0).round(1).tolist(),
        }
    return made


def new_defect(data: Set, draws: int) -> dict[str, Any]:
    """Share of the pictures -> of all classes and draws, how often and when it was noticed."""
    made = {}
    for share in SHARES_OF_NEW:
        found_after, false, total = [], 0, 0
        for label in range(len(data.table.classes)):
            strange = np.flatnonzero(data.table.labels == label)
            for seed in range(draws):
                draw, rng = Draw(data, seed, without=label), np.random.default_rng(seed)
                half = len(draw.rest) // 2
                usual = draw.usual(draw.rest)
                new = draw.usual(rng.permutation(strange)[: round(share * half)])
                second = usual[half:] + new
                mixed = [second[i] for i in rng.permutation(len(second))]
                told = alarms(usual[:half] + mixed, 100_000, seed)
                false += sum(each.number <= half for each in told)
                total += 1
                found_after += [each.number - half for each in told if each.number > half][:1]
        made[str(share)] = {
            "streams": total,
            "false": false,
            "noticed": len(found_after) / total,
            "delay": float(np.median(found_after)) if found_after else None,
        }
    return made


def strangeness(data: Set) -> list[float]:
    """Of each class, unknown to reference and head: median share of usual pictures that are odder.

    By distance, among usual pictures that are taken for the same class.
    """
    made = []
    for label in range(len(data.table.classes)):
        draw = Draw(data, 0, without=label)
        usual: dict[int, list[float]] = {}
        for taken_for, values in draw.usual(draw.rest):
            usual.setdefault(taken_for, []).append(values[0])
        new = draw.usual(np.flatnonzero(data.table.labels == label))
        odder = [np.mean(np.array(usual.get(one, [0.0])) > values[0]) for one, values in new]
        made.append(round(float(np.median(odder)), 3))
    return made


def needed() -> dict[str, dict[str, float | None]]:
    """How odd -> share of the pictures -> median pictures until a made-up new defect is noticed.

    How odd: share of the usual pictures among which its distance is drawn, the largest ones; 0:
    beyond all. 1000 usual pictures of one class come before, 10,000 at most after; three streams.
    """
    made: dict[str, dict[str, float | None]] = {}
    for odd in ODD:
        for share in SHARES_NEEDED:
            late = []
            for seed in range(3):
                detector, rng = ChangeDetector(100_000, seed), np.random.default_rng(seed)
                for number in range(11_000):
                    new = number >= 1000 and rng.random() < share
                    distance = 2 - odd * rng.random() - (odd > 0) if new else rng.random()
                    values = np.concatenate([[distance], rng.standard_normal(7)])
                    if detector.observe(0, values) is not None:
                        late.append(number - 999)
                        break
            delay = float(np.median(late)) if len(late) == 3 else None
            made.setdefault(str(odd), {})[str(share)] = delay
    return made


def score(head: Any, prepared: Any, truth: NDArray[np.int64]) -> float:
    right = head.predict(prepared) == truth
    return 100 * float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


def remedies(data: Set, draws: int) -> dict[str, Any]:
    """Change -> what was done -> mean accuracy and paired difference from doing nothing."""
    made = {}
    for word, (table, _) in data.after.items():
        values: dict[str, list[float]] = {}
        for seed in range(draws):
            for name, figure in after_remedies(data.draw(seed), table, seed):
                values.setdefault(name, []).append(figure)
        nothing = np.array(values["nothing"])
        made[word] = {
            name: {
                "mean": round(float(np.mean(each)), 1),
                "gain": round(float(np.mean(each - nothing)), 1),
                "ci95": round(mean_interval((each - nothing).tolist()).ci95 or 0.0, 1),
            }
            for name, each in values.items()
        }
    return made


def after_remedies(draw: Draw, table: FeatureTable, seed: int) -> Iterator[tuple[str, float]]:
    rng, data = np.random.default_rng(seed), draw.data
    order = rng.permutation(CHANGED)
    known, asked = order[: CHANGED // 2], order[CHANGED // 2 :]
    train, truth = data.table.values[draw.train], table.labels

    def figure(values: Any, labels: Any) -> float:
        preparation = Preparation().fit(values)
        head = head_of(preparation.transform(values), labels)
        return score(head, preparation.transform(table.values[asked]), truth[asked])

    yield (
        "unchanged pictures",
        score(
            draw.head,
            draw.preparation.transform(data.table.values[data.changed[asked]]),
            truth[asked],
        ),
    )
    yield "nothing", figure(train, draw.labels)
    before = data.table.values[draw.rest]
    moved = recentred(train, before, table.values[known])
    yield "re-centred", figure(moved, draw.labels)
    few = known[rng.random(len(known)) < np.where(truth[known] == truth[known][0], 1.0, 0.1)]
    yield (
        "re-centred by other shares",
        figure(recentred(train, before, table.values[few]), draw.labels),
    )
    unsure = draw.head.predict_proba(draw.preparation.transform(table.values[known])).max(axis=1)
    for name, chosen in (
        ("3 labels, least sure", known[np.argsort(unsure)[:SETTLING]]),
        ("3 labels, random", known[:SETTLING]),
    ):
        for word, base in (("", train), (", re-centred", moved)):
            values = np.concatenate([base, table.values[chosen]])
            yield name + word, figure(values, np.concatenate([draw.labels, truth[chosen]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, default=Path("change"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    made: dict[str, Any] = {}
    for folder in args.data:
        data = Set(folder, args.work)
        made[folder.name] = {
            "pictures": len(data.table),
            "false_alarms": false_alarms(data, args.draws),
            "delays": delays(data, args.draws),
            "new_defect": new_defect(data, max(1, args.draws // 3)),
            "strangeness": strangeness(data),
            "remedies": remedies(data, args.draws),
        }
        if folder.name == "plant":
            made[folder.name]["coils"] = coils(data, args.draws)
        print(folder.name, "done", flush=True)
        facts = {"draws": args.draws, "every": RARE_EVERY, "hardware": hardware()}
        write_json(args.json, facts | {"data": made, "needed": needed()})
    show(json.loads(args.json.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
