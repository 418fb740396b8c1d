"""How seldom and how soon `predict --watch --alarm` tells that pictures change, and what mends it.

    cvgssl data synth plant --parts 2000 --good-share 0.9 --defect-area 0.05 \
        --format png --seed 5
    nice python recipes/change.py X-SDD NEU-CLS GC10-224 plant --draws 5 --work change \
        --json docs/results/change.json
    python recipes/change.py --json docs/results/change.json     (tables and figure alone)

250 pictures of each set, drawn once, are changed: lamp (gain, gamma, gradient), focus (blur),
camera (rotation, zoom), noise. They and the others as they are are embedded by the default
encoder, once, into the folder `--work`. Each draw makes a third of the others the reference, 8
labels of each class in it make a head (kernel ridge), the rest comes as a stream in random order.

- false alarms: streams without a change, and streams whose second half has 15 % of the pictures of
  all classes but the commonest; `plant` also coil after coil, with --run-length 1, 10, 25.
- delay: the stream, then the changed pictures; with the default, one false alarm in 100,000.
- new defect: one class is neither in the reference nor in the first half of the stream; in the
  second it has a share of the pictures.
- strangeness: how odd the pictures of such a class are; and what a made-up one needs to be noticed.
- mending: accuracy (balanced) on half of the changed pictures, where the other half is known
  without labels: nothing done; re-centred; 3 labels for the least sure or for random ones.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed
from cvgssl.features.preparation import Preparation
from cvgssl.features.reading import Reading
from cvgssl.features.table import FeatureTable, load_features, save_features
from cvgssl.heads import HEADS
from cvgssl.heads.change import SHARES, ChangeDetector, Reference, light_of
from cvgssl.heads.metrics import mean_interval
from cvgssl.images.geometry import Geometry
from cvgssl.images.surfaces.plan import Plant, plan_plant
from cvgssl.recognizer.recentring import recentred
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json

CHANGED = 250  # pictures of each set
LABELS, SETTLING = 8, 3
RARE_EVERY = 2000  # pictures between false alarms in the streams without a change
SHARES_OF_NEW = (0.1, 0.03)
SHARES_NEEDED, ODD = (0.3, 0.1, 0.03, 0.01), (0.0, 0.05, 0.2)
RUNS = (1, 10, 25)
Picture = Image.Image
Rows = NDArray[np.intp]
Stream = list[tuple[int, NDArray[np.float64]]]


def levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., Picture]:
    def changed(picture: Picture) -> Picture:
        values = change(np.asarray(picture, dtype=np.float64))
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))

    return changed


def gradient(values: NDArray[np.float64]) -> NDArray[np.float64]:
    across = np.linspace(0.75, 1.15, values.shape[1])
    return values * (across if values.ndim == 2 else across[:, None])


def noise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values + np.random.default_rng(int(values.sum())).normal(0, 6, values.shape)


def blur(share: float) -> Callable[[Picture], Picture]:
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(share * max(picture.size)))


def camera(angle: float, zoom: float) -> Callable[[Picture], Picture]:
    def changed(picture: Picture) -> Picture:
        (width, height), border = picture.size, int(0.3 * max(picture.size))
        values = np.asarray(picture)
        sides = [(border, border)] * 2 + [(0, 0)] * (values.ndim - 2)
        large = Image.fromarray(np.pad(values, sides, mode="reflect"))
        large = large.rotate(angle, Image.Resampling.BICUBIC)
        x, y = (large.width - width / zoom) / 2, (large.height - height / zoom) / 2
        box = (x, y, x + width / zoom, y + height / zoom)
        return large.resize((width, height), Image.Resampling.BICUBIC, box=box)

    return changed


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "gain 0.9": levels(lambda values: 0.9 * values),
    "gain 0.75": levels(lambda values: 0.75 * values),
    "gamma 1.4": levels(lambda values: 255 * (values / 255) ** 1.4),
    "gradient": levels(gradient),
    "blur 1 %": blur(0.01),
    "rotation 5": camera(5, 1),
    "zoom 1.1": camera(0, 1.1),
    "noise 6": levels(noise),
}


class Set:
    """A data set as embeddings and light, as it is and changed; rows of a change are `changed`."""

    def __init__(self, data: Path, work: Path) -> None:
        self.table, self.light = measured(data, work / f"{data.name}.npz")
        self.changed = np.random.default_rng(1).permutation(len(self.table))[:CHANGED]
        self.others = np.setdiff1d(np.arange(len(self.table)), self.changed)
        self.after: dict[str, tuple[FeatureTable, NDArray[np.float64]]] = {}
        self._draws: dict[int, Draw] = {}
        names = [self.table.names[row] for row in self.changed]
        for word, change in CHANGES.items():
            folder = work / f"{data.name} {word}"
            for number, name in enumerate(names):
                made = folder / f"{number:04}.png"
                if not made.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    with Image.open(data / name) as picture:
                        plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
                        change(plain).save(made, compress_level=1)
            table, light = measured(folder, work / f"{folder.name}.npz")
            self.after[word] = replace(table, labels=self.table.labels[self.changed]), light

    def draw(self, seed: int) -> "Draw":
        """The draw of this number, made once."""
        if seed not in self._draws:
            self._draws[seed] = Draw(self, seed)
        return self._draws[seed]


def measured(data: Path, kept: Path) -> tuple[FeatureTable, NDArray[np.float64]]:
    lights = kept.with_name(f"{kept.stem}.light.npy")
    if not lights.exists():
        table = embed(EmbedConfig(data=data))
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_features(table, kept)
        reading = Reading(
            [data / name for name in table.names], (Geometry(224),), EmbedConfig(data=data)
        )
        light = np.zeros((len(table), 3))
        for batch in reading.batches(lambda _: None):
            for place, square in zip(batch.places, batch.squares[0], strict=True):
                assert square.pixels is not None
                light[place] = light_of(square.pixels)
        np.save(lights, light)
    return load_features(kept), np.load(lights)


class Draw:
    """A reference and a head; `rest` are the rows for the stream, in random order."""

    def __init__(self, data: Set, seed: int, without: int | None = None) -> None:
        self.data, table = data, data.table
        rows = np.random.default_rng(seed).permutation(data.others)
        rows = rows[table.labels[rows] != without]
        self.train, self.rest = rows[: len(rows) // 3], rows[len(rows) // 3 :]
        self.labels = np.full(len(self.train), -1)
        for label in range(len(table.classes)):
            self.labels[np.flatnonzero(table.labels[self.train] == label)[:LABELS]] = label
        self.preparation = Preparation().fit(table.values[self.train])
        prepared = self.preparation.transform(table.values[self.train])
        self.reference = Reference(prepared)
        self.head = head_of(prepared, self.labels)

    def stream(self, values: Any, light: NDArray[np.float64], rows: Rows) -> Stream:
        """What the detector is given of pictures."""
        prepared = self.preparation.transform(values[rows])
        labels = self.head.predict(prepared).tolist()
        return list(zip(labels, self.reference.measure(prepared, light[rows]).values, strict=True))

    def usual(self, rows: Rows) -> Stream:
        """The same of unchanged ones."""
        return self.stream(self.data.table.values, self.data.light, rows)


def head_of(prepared: Any, labels: Any) -> Any:
    return HEADS["kernel-ridge"]().fit(prepared[labels >= 0], labels[labels >= 0])


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


def mending(data: Set, draws: int) -> dict[str, Any]:
    """Change -> what was done -> mean accuracy and paired difference from doing nothing."""
    made = {}
    for word, (table, _) in data.after.items():
        values: dict[str, list[float]] = {}
        for seed in range(draws):
            for name, figure in mended(data.draw(seed), table, seed):
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


def mended(draw: Draw, table: FeatureTable, seed: int) -> Iterator[tuple[str, float]]:
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
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, default=Path("change"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    if args.data:
        made: dict[str, Any] = {}
        for folder in args.data:
            data = Set(folder, args.work)
            made[folder.name] = {
                "pictures": len(data.table),
                "false_alarms": false_alarms(data, args.draws),
                "delays": delays(data, args.draws),
                "new_defect": new_defect(data, max(1, args.draws // 3)),
                "strangeness": strangeness(data),
                "mending": mending(data, args.draws),
            }
            if folder.name == "plant":
                made[folder.name]["coils"] = coils(data, args.draws)
            print(folder.name, "done", flush=True)
            facts = {"draws": args.draws, "every": RARE_EVERY, "hardware": hardware()}
            write_json(args.json, facts | {"data": made, "needed": needed()})
    result = json.loads(args.json.read_text(encoding="utf-8"))
    draw_figure(result["data"], args.json.with_suffix(".png"))
    show(result["data"])
    print("\n| share of the pictures | " + " | ".join(map(str, ODD)) + " |" + "\n|---" * 1, end="")
    print("|---" * len(ODD) + "|")
    for share in SHARES_NEEDED:
        row = [result["needed"][str(odd)][str(share)] for odd in ODD]
        print(
            f"| {100 * share:g} % | {' | '.join('not' if x is None else f'{x:g}' for x in row)} |"
        )


def draw_figure(found: dict[str, Any], path: Path) -> None:
    """Gains over doing nothing, a panel for each set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = ("re-centred", "re-centred by other shares", "3 labels, least sure",
             "3 labels, least sure, re-centred")  # fmt: skip
    figure, panels = pyplot.subplots(
        1, len(found), figsize=(5 * len(found), 4.6), sharey=True, squeeze=False
    )
    for panel, (name, result) in zip(panels[0], found.items(), strict=True):
        for place, word in enumerate(shown):
            at = np.arange(len(CHANGES)) + 0.18 * (place - 1.5)
            each = [result["mending"][change][word] for change in CHANGES]
            gain, wide = ([one[key] for one in each] for key in ("gain", "ci95"))
            panel.errorbar(gain, at, xerr=wide, fmt="o", markersize=4, capsize=2, label=word)
        panel.axvline(0, color="gray", linewidth=1)
        panel.set(title=name, yticks=range(len(CHANGES)), yticklabels=list(CHANGES))
        panel.set_xlabel("points of balanced accuracy gained")
    panels[0][0].invert_yaxis()
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(path, dpi=110)


def show(found: dict[str, Any]) -> None:
    """Markdown tables."""
    print(
        "\n| set | stream | pictures | false alarms | allowed | kind shares |\n" + "|---" * 6 + "|"
    )
    for name, result in found.items():
        streams = result["false_alarms"] | {
            f"coil after coil, --run-length {run}": each
            for run, each in result.get("coils", {}).items()
        }
        for word, each in streams.items():
            shares = each["alarms"].get(SHARES, 0)
            others = sum(each["alarms"].values()) - shares
            print(
                f"| {name} | {word} | {each['pictures']} | {others} | {each['allowed']:.0f} |"
                f" {shares} |"
            )
    print("\n| change | " + " | ".join(found) + " |\n|---" + "|---" * len(found) + "|")
    for change in CHANGES:
        cells = []
        for result in found.values():
            each = result["delays"][change]
            before, after = each["accuracy"]
            delay = "not" if each["delay"] is None else f"**{each['delay']}**"
            cells.append(f"{delay} ({100 * each['noticed']:.0f} %), {before:.0f} → {after:.0f}")
        print(f"| {change} | {' | '.join(cells)} |")
    print("\n| set | share of a new defect | noticed | median delay |\n|---|---|---|---|")
    for name, result in found.items():
        for share, each in result["new_defect"].items():
            print(
                f"| {name} | {100 * float(share):g} % | {100 * each['noticed']:.0f} % |"
                f" {each['delay']} |"
            )
    done = list(next(iter(found.values()))["mending"]["noise 6"])
    print("\n| set | change | " + " | ".join(done) + " |\n|---|---" + "|---" * len(done) + "|")
    for name, result in found.items():
        for change, each in result["mending"].items():
            cells = [
                f"{one['mean']:.1f}"
                if word in done[:2]
                else f"{one['gain']:+.1f} ± {one['ci95']:.1f}"
                for word, one in each.items()
            ]
            print(f"| {name} | {change} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
