"""The tables of what `change.py` measured.

    python recipes/change_tables.py docs/results/change.json

Data sets are columns or rows, changes rows.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvgssl.heads.change import SHARES

Found = dict[str, Any]  # of every data set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    show(json.loads(parser.parse_args().json.read_text(encoding="utf-8")))


def show(result: dict[str, Any]) -> None:
    """Markdown tables."""
    found = result["data"]
    for title, lines in (
        ("False alarms", false_alarms(found)),
        (
            "Delay: median pictures from the change to the alarm (share of the draws with one), "
            "macro-recall before → after",
            delays(found),
        ),
        ("A new defect", new_defects(found)),
        ("A made-up new defect: pictures until it is noticed", needed(result["needed"])),
        ("Macro-recall, then the gain over doing nothing", gains(found)),
    ):
        heading, *rows = lines
        print(f"\n**{title}**\n")
        for row in (heading, ["---"] * len(heading), *rows):
            print(f"| {' | '.join(row)} |")


def false_alarms(found: Found) -> Iterator[list[str]]:
    yield ["set", "stream", "pictures", "false alarms", "allowed", "kind shares"]
    for name, result in found.items():
        streams = result["false_alarms"] | {
            f"coil after coil, --pictures-per-part {run}": each
            for run, each in result.get("coils", {}).items()
        }
        for word, each in streams.items():
            shares = each["alarms"].get(SHARES, 0)
            others = sum(each["alarms"].values()) - shares
            facts = each["pictures"], others, f"{each['allowed']:.0f}", shares
            yield [name, word, *map(str, facts)]


def delays(found: Found) -> Iterator[list[str]]:
    yield ["change", *found]
    for change in next(iter(found.values()))["delays"]:
        cells = []
        for result in found.values():
            each = result["delays"][change]
            before, after = each["accuracy"]
            delay = "not" if each["delay"] is None else f"**{each['delay']}**"
            cells.append(f"{delay} ({100 * each['noticed']:.0f} %), {before:.0f} → {after:.0f}")
        yield [change, *cells]


def new_defects(found: Found) -> Iterator[list[str]]:
    yield ["set", "share of a new defect", "noticed", "median delay"]
    for name, result in found.items():
        for share, each in result["new_defect"].items():
            delay = "–" if each["delay"] is None else f"{each['delay']:g}"
            yield [name, f"{100 * float(share):g} %", f"{100 * each['noticed']:.0f} %", delay]


def needed(delays: dict[str, dict[str, float | None]]) -> Iterator[list[str]]:
    places = {"0.0": "beyond all usual ones"}
    names = (places.get(q, f"among the oddest {100 * float(q):g} %") for q in delays)
    yield ["share of the pictures", *names]
    for share in next(iter(delays.values())):
        cells = (each[share] for each in delays.values())
        yield [
            f"{100 * float(share):g} %",
            *("not" if cell is None else f"{cell:g}" for cell in cells),
        ]


def gains(found: Found) -> Iterator[list[str]]:
    done = list(next(iter(next(iter(found.values()))["remedies"].values())))
    yield ["set", "change", *done]
    for name, result in found.items():
        for change, each in result["remedies"].items():
            figures = [f"{each[word]['mean']:.1f}" for word in done[:2]]
            others = [f"{each[word]['gain']:+.1f} ± {each[word]['ci95']:.1f}" for word in done[2:]]
            yield [name, change, *figures, *others]


if __name__ == "__main__":
    main()
