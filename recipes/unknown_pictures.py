"""Pictures of a class without labels: ranked, rejected, answered; and calibration.

    cvgssl embed NEU-CLS --encoder vit_tiny_patch16_224=FILE --pooling cls+mean --out NEU-CLS.npz
    python recipes/unknown_pictures.py NEU-CLS.npz X-SDD.npz --json docs/results/unknown.json
    python recipes/unknown_pictures.py NEU-CLS.npz --folds neighbours     (how settings are chosen)
    python recipes/unknown_pictures.py X-SDD.npz --folds random
    python recipes/unknown_pictures.py --json docs/results/unknown.json           (tables alone)

Each class in turn has no labels; the others have K, of the draws of `cvgssl finetune` with seed 0.
Three cases: its pictures are among the unlabelled ones (`in the pool`), there are unlabelled
pictures of the other classes only (`not in the pool`; both semi-supervised), or there are no
unlabelled pictures (`inductive`). All of test/ is asked, one by one. Figures are per cent, means
over the classes left out, and over draws with half the 95 % interval.

With `--folds` test/ is not opened: three blocks of a quarter of every class of train/ are asked in
turn, `neighbours` in the order of their names (near twins stay together), or drawn at random.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from folds import places
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from cvgssl.adapt.draws import draw
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import FeatureTable, load_features
from cvgssl.heads import CalibratedHead, OpenSetHead
from cvgssl.heads.base import UNLABELLED
from cvgssl.heads.calibration import calibration_error, coverage
from cvgssl.heads.metrics import mean_interval
from cvgssl.heads.verdicts import KNOWN, NOT_SURE, UNKNOWN
from cvgssl.runtime.environment import hardware
from cvgssl.runtime.files import write_json
from cvgssl.runtime.progress import progress

POOL, ABSENT, INDUCTIVE = "in the pool", "not in the pool", "inductive"
CASES = (POOL, ABSENT, INDUCTIVE)
SETTINGS = {"semi-supervised": (POOL, ABSENT), "inductive": (INDUCTIVE,)}
ORDERS = {
    "auroc": "AUROC, out-of-distribution score",
    "auroc_probability": "AUROC, largest probability",
    "coverage": "coverage at 1 % error, by confidence",
    "coverage_probability": "coverage at 1 % error, by largest probability",
    "possible": "upper bound of the coverage",
}
RULE = {
    "unknown_found": "detection rate (unknown called unknown)",
    "unknown_not_sure": "unknown called not sure",
    "known_rejected": "false-rejection rate (known called unknown)",
    "known_not_sure": "known called not sure",
    "answered": "answered, of all pictures",
    "wrong": "wrong among the answered",
}
CALIBRATION = {
    "accuracy": "accuracy",
    "ece_raw": "ECE, `auto` alone",
    "ece": "ECE, with temperature scaling",
    "loss_raw": "NLL (nats), `auto` alone",
    "loss": "NLL (nats), with temperature scaling",
    "temperature": "the temperature",
}

Rows = NDArray[np.intp]
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="*")
    parser.add_argument("--folds", choices=["none", "neighbours", "random"], default="none")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not args.features:
        for data, result in json.loads(args.json.read_text(encoding="utf-8"))["data"].items():
            show(data, result)
        return
    results = {}
    for file in args.features:
        table = load_features(file)
        about = table.about | {"data": Path(str(table.about.get("data", file.stem))).name}
        results[file.stem] = {"features": about} | measure(table, args, file.stem)
        show(file.stem, results[file.stem])
    if args.json:
        facts = {"folds": args.folds, "draws": args.draws, "hardware": hardware()}
        write_json(args.json, facts | {"data": results})


def measure(table: FeatureTable, args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Case or setting -> shot -> figure -> mean, ci95 and values; AUROC also by class."""
    folds = [table] if args.folds == "none" else list(folded(table, args.folds))
    total = len(folds) * (len(table.classes) * len(CASES) + 2) * len(args.shots)
    unknown: dict[str, dict[str, list[list[Figures]]]] = {}
    calibration: dict[str, dict[str, list[list[Figures]]]] = {}
    with progress(name, total) as advance:
        for fold in folds:
            for case in CASES:
                for label in range(len(table.classes)):
                    made = over_draws(fold, args, case, label, advance)
                    for shot, values in made.items():
                        unknown.setdefault(case, {}).setdefault(shot, []).append(values)
            for case in (POOL, INDUCTIVE):
                for shot, values in over_draws(fold, args, case, None, advance).items():
                    calibration.setdefault(case, {}).setdefault(shot, []).append(values)
    return {
        "unknown": {case: summary(shots) for case, shots in unknown.items()},
        "auroc_by_class": by_class(unknown, table.classes),
        "calibration": {case: summary(shots) for case, shots in calibration.items()},
    }


def folded(table: FeatureTable, kind: str) -> Iterator[FeatureTable]:
    """Three times train/ with another quarter of each class asked instead of test/."""
    train = table.split("train")
    place = places(train)
    if kind == "random":
        for label in range(len(train.classes)):
            rows = np.flatnonzero(train.labels == label)
            place[np.random.default_rng(label).permutation(rows)] = np.arange(len(rows)) / len(rows)
    for fold in range(3):
        held = (place >= fold / 4 + 0.125) & (place < fold / 4 + 0.375)
        yield replace(train, splits=tuple("test" if one else "train" for one in held))


def over_draws(
    table: FeatureTable,
    args: argparse.Namespace,
    case: str,
    left_out: int | None,
    advance: Callable[[int], None],
) -> dict[str, list[Figures]]:
    """Shot -> the figures of each draw, with one class without labels, or (None) with all."""
    train, test, dataset = table.split("train"), table.split("test"), table.dataset()
    pool = np.flatnonzero(train.labels != left_out) if case == ABSENT else np.arange(len(train))
    figures: dict[str, list[Figures]] = {}
    for shot in args.shots:
        drawn = draw(dataset, shot, args.draws, seed=0)
        for number in range(args.draws):
            rows = drawn.rows(number, dataset.train, dataset.root)
            rows = rows[train.labels[rows] != left_out]
            kept = rows if case == INDUCTIVE else pool
            target = np.where(np.isin(kept, rows), train.labels[kept], UNLABELLED)
            prepared = Preparation(blocks=train.blocks).fit(train.values[kept])
            known, asked = (prepared.transform(one) for one in (train.values[kept], test.values))
            if left_out is None:
                found = calibrated(known, target, asked, test.labels)
            else:
                found = open_set(known, target, asked, test.labels, left_out)
            figures.setdefault(str(shot), []).append(found)
        advance(1)
    return figures


def open_set(
    known: NDArray[Any], target: NDArray[Any], asked: NDArray[Any], truth: NDArray[Any], label: int
) -> Figures:
    """Figures of one fit with class `label` left out."""
    head = OpenSetHead().fit(known, target)
    top, scores = head.predict_proba(asked).max(axis=1), head.score_samples(asked)
    right, strange, verdict = head.predict(asked) == truth, truth == label, head.verdicts(asked)
    answered = verdict == KNOWN
    shares = {
        "auroc": float(roc_auc_score(~strange, scores)),
        "auroc_probability": float(roc_auc_score(~strange, top)),
        "coverage": coverage(head.confidence(asked), right),
        "coverage_probability": coverage(top, right),
        "possible": float(right.mean()),
        "unknown_found": float((verdict == UNKNOWN)[strange].mean()),
        "unknown_not_sure": float((verdict == NOT_SURE)[strange].mean()),
        "known_rejected": float((verdict == UNKNOWN)[~strange].mean()),
        "known_not_sure": float((verdict == NOT_SURE)[~strange].mean()),
        "answered": float(answered.mean()),
        "wrong": float((~right & answered).mean()),
    }
    return {name: 100 * value for name, value in shares.items()}


def calibrated(
    known: NDArray[Any], target: NDArray[Any], asked: NDArray[Any], truth: NDArray[Any]
) -> Figures:
    """Figures of `auto` without and with `CalibratedHead`, all classes labelled."""
    head = CalibratedHead().fit(known, target)
    raw, found = head.head_.predict_proba(asked), head.predict_proba(asked)
    return {
        "accuracy": 100 * float((found.argmax(axis=1) == truth).mean()),
        "ece_raw": 100 * calibration_error(raw, truth),
        "ece": 100 * calibration_error(found, truth),
        "loss_raw": log_loss(truth, raw, labels=head.classes_),
        "loss": log_loss(truth, found, labels=head.classes_),
        "temperature": head.temperature_,
    }


def summary(shots: dict[str, list[list[Figures]]]) -> dict[str, Any]:
    """Shot -> figure -> mean, half width of the interval, and means over classes by draw."""
    made: dict[str, Any] = {}
    for shot, groups in shots.items():
        means = {
            name: np.mean([[figures[name] for figures in draws] for draws in groups], axis=0)
            for name in groups[0][0]
        }
        if "wrong" in means:  # of all pictures until here
            means["wrong"] = 100 * means["wrong"] / means["answered"].clip(1e-9)
        for name, values in means.items():
            kept = mean_interval(values.tolist())
            made.setdefault(shot, {})[name] = {
                "mean": kept.mean,
                "ci95": kept.ci95,
                "values": values.round(3).tolist(),
            }
    return made


def by_class(
    unknown: dict[str, dict[str, list[list[Figures]]]], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Case -> shot -> class left out -> mean AUROC of the out-of-distribution score."""
    made: dict[str, Any] = {}
    for case, shots in unknown.items():
        for shot, groups in shots.items():
            found = made.setdefault(case, {}).setdefault(shot, {})
            for label, name in enumerate(classes):
                folds = groups[label :: len(classes)]  # with this class left out
                found[name] = float(np.mean([[one["auroc"] for one in draws] for draws in folds]))
    return made


def show(data: str, result: dict[str, Any]) -> None:
    """Markdown tables of each setting: a row for each case and figure, a column for each shot."""
    for setting, cases in SETTINGS.items():
        for title, kind, names in (
            ("ranking unknown pictures", "unknown", ORDERS),
            ("what `--unknown` answers", "unknown", RULE),
            ("calibration, all classes labelled", "calibration", CALIBRATION),
        ):
            found = {case: result[kind][case] for case in cases if case in result[kind]}
            shots = list(next(iter(found.values())))
            several = len(found) > 1
            print(f"\n**{data}, {setting}: {title}**\n")
            print(f"| {'case | ' if several else ''}figure | {' | '.join(shots)} |")
            print("|---" * (len(shots) + 1 + several) + "|")
            for case, values in found.items():
                for name, words in names.items():
                    digits = 2 if name in ("loss", "loss_raw", "temperature") else 1
                    cells = [values[shot][name] for shot in shots]
                    shown = (f"{v['mean']:.{digits}f} ± {v['ci95'] or 0:.{digits}f}" for v in cells)
                    first = f"{case} | " if several else ""
                    print(f"| {first}{words} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
