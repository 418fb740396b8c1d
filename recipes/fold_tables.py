"""Tables of what was measured by folds inside train/.

    python recipes/fold_tables.py dominated docs/results/dominated.json

Each kind of table has a function, which takes the rows of its JSON file.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
POOLS = {
    "p70": "plant, 70 % good",
    "p90": "plant, 90 % good",
    "GC10-224": "GC10",
    "gc": "GC10",
}
ENCODERS = {
    "lite0": "Lite0",
    "vit3": "ViT-Tiny",
    "squeeze": "SqueezeNet",
    "student224": "student",
}
MODES = ("center", "standardize", "power")
METHODS = ("medoids", "medoids in rounds", "coreset", "typiclust", "probcover", "random")
HEADS = ("logistic", "kernel-ridge", "diffusion", "transport", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("json", type=Path)
    args = parser.parse_args()
    heading, lines = KINDS[args.kind]
    print(f"| {' | '.join(heading)} |", "|" + "---|" * len(heading), sep="\n")
    for line in lines(json.loads(args.json.read_text(encoding="utf-8"))):
        print(f"| {' | '.join(line)} |")


def dominated(rows: list[Row]) -> Iterator[list[str]]:
    """A line per pool, share of the largest class, and labels per class."""
    for row in rows:
        share = f"{row['share']:.0%}".replace("%", " %") if row["share"] else "as it is"
        yield [
            f"{named(row['features'])}, {row['shot']}",
            f"{share} ({row['largest']:.0f} %)",
            *(f"{row[head]:.1f}" for head in HEADS),
            f"{row['agreement']:.0f} %",
            f"{row['ECE']:.0f}",
            f"{row['answered']:.0f} %",
            f"{row['wrong']:.0f} %" if row["answered"] else "–",  # of hardly any
        ]


def support_flips(rows: list[Row]) -> Iterator[list[str]]:
    """A line per pool and share; each cell has all numbers of labels."""
    for (features, share), cells in by_place(rows).items():
        yield [
            named(features),
            f"{share:.0%}".replace("%", " %") if share else "as it is",
            *(
                slashed([cell[head][mirrored] for cell in cells])
                for head in ("kernel-ridge", "auto")
                for mirrored in (0, 1)
            ),
        ]


def encoder_sizes(rows: list[Row]) -> Iterator[list[str]]:
    """A line per pool and share; each cell has all numbers of labels."""
    for (features, share), cells in by_place(rows).items():
        pool = named(features.partition(" ")[0]).removesuffix(", Lite0")
        yield [
            f"{pool}, one class {100 * share:.0f} %" if share else pool,
            *(
                slashed([cell[key] for cell in cells])
                for key in ("first", "second", "side by side")
            ),
        ]


def encoder_choice(rows: list[Row]) -> Iterator[list[str]]:
    """A line per pair of encoders and share; each cell has all numbers of labels."""
    for (features, share), cells in by_place(rows).items():
        first, second = (named(file).rpartition(", ") for file in features.split())
        pool = f"{first[0]}, {first[2]} and {second[2]}"
        columns = "first", "second", "side by side", "chosen"
        yield [
            f"{pool}, one class {100 * share:.0f} %" if share else pool,
            *(slashed([cell[key] for cell in cells]) for key in columns),
        ]


def preparation(rows: list[Row]) -> Iterator[list[str]]:
    """A line per pool, encoder and share; each cell has all numbers of labels."""
    for (features, share), cells in by_place(rows).items():
        yield [
            named(features),
            f"{100 * share:.0f} %" if share else "as it is",
            *(
                slashed([cell[head] for cell in cells if cell["mode"] == mode])
                for head in ("auto", "logistic")
                for mode in MODES
            ),
        ]


def select_dominated(rows: list[Row]) -> Iterator[list[str]]:
    """A line per set and number of labels: classes found / macro-recall.

    Means over encoders, and over the shares where one class is made to dominate.
    """
    cells: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for row in rows:
        pool = named(row["features"]).rpartition(", ")[0]
        pool += ("" if "good" in pool else ", as it is") if not row["share"] else ", 50 to 90 %"
        cells.setdefault((pool, row["shot"]), {}).setdefault(row["method"], []).append(row)
    for (pool, shot), by_method in cells.items():
        yield [
            f"{pool}, {shot}",
            *(
                slashed([mean(by_method[method], key) for key in ("found", "kernel-ridge")])
                for method in METHODS
            ),
        ]


def diffusion_settings(found: Row) -> Iterator[list[str]]:
    """A line per setting of the map, the teacher itself first; columns are data sets."""
    folds = found["folds"].values()
    for name in next(iter(folds)):
        words = "the teacher itself, no map" if name == "teacher" else name
        yield [words, *(slashed(each[name]) for each in folds)]


def by_place(rows: list[Row]) -> dict[tuple[str, float], list[Row]]:
    """Rows of the same features and share together."""
    found: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        features = (
            row["features"] if isinstance(row["features"], str) else " ".join(row["features"])
        )
        found.setdefault((features, row["share"]), []).append(row)
    return found


def named(features: str) -> str:
    """Pool and encoder of a features file, in words."""
    pool, _, encoder = features.partition(".")
    return f"{POOLS.get(pool, pool)}, {ENCODERS.get(encoder, encoder)}"


def mean(rows: list[Row], key: str) -> float:
    return float(sum(row[key] for row in rows)) / len(rows)


def slashed(values: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


KINDS: dict[str, tuple[list[str], Callable[[Any], Iterator[list[str]]]]] = {
    "dominated": (
        [
            "features, labels per class",
            "one class, target (largest class, reached)",
            *(f"`{head}`" for head in HEADS),
            "agreement",
            "ECE",
            "answered",
            "wrong",
        ],
        dominated,
    ),
    "support_flips": (
        [
            "features",
            "largest class",
            "`kernel-ridge`",
            "with mirror images",
            "`auto`",
            "with mirror images",
        ],
        support_flips,
    ),
    "encoder_sizes": (["pool", "224 px", "320 px", "both"], encoder_sizes),
    "encoder_choice": (
        ["pool, encoders", "the first", "the second", "side by side", "chosen by held-out labels"],
        encoder_choice,
    ),
    "preparation": (
        [
            "features",
            "largest class",
            *(f"`{head}`, `{mode}`" for head in ("auto", "logistic") for mode in MODES),
        ],
        preparation,
    ),
    "select_dominated": (
        [
            "pool, labels per class",
            *(f"`{m}`".replace(" in rounds`", "` in rounds") for m in METHODS),
        ],
        select_dominated,
    ),
    "diffusion_settings": (["setting", "NEU-CLS", "X-SDD"], diffusion_settings),
}


if __name__ == "__main__":
    main()
