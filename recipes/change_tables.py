"""The tables and the figure of what `change.py` measured."""

from pathlib import Path
from typing import Any

import numpy as np
from changed_pictures import CHANGES

from cvgssl.heads.change import SHARES


def draw_figure(found: dict[str, Any], path: Path) -> None:
    """Gains over doing nothing, a panel for each set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = ("re-centred", "re-centred by other shares", "3 labels, least sure",
             "3 labels, least sure, re-centred")  # fmt: skip
    across = min(2, len(found))
    down = -(-len(found) // across)
    figure, panels = pyplot.subplots(
        down, across, figsize=(5.5 * across, 3.9 * down + 0.6), sharey=True, squeeze=False
    )
    for panel in panels.flat[len(found) :]:
        panel.remove()
    for panel, (name, result) in zip(panels.flat, found.items(), strict=False):
        for place, word in enumerate(shown):
            at = np.arange(len(CHANGES)) + 0.18 * (place - 1.5)
            each = [result["remedies"][change][word] for change in CHANGES]
            gain, wide = ([one[key] for one in each] for key in ("gain", "ci95"))
            panel.errorbar(gain, at, xerr=wide, fmt="o", markersize=4, capsize=2, label=word)
        panel.axvline(0, color="gray", linewidth=1)
        panel.set(title=name, yticks=range(len(CHANGES)), yticklabels=list(CHANGES))
        panel.set_xlabel("points of macro-recall gained")
    panels[0][0].invert_yaxis()
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.13 / down, 1, 1))
    figure.savefig(path, dpi=110)


def show(found: dict[str, Any]) -> None:
    """Markdown tables."""
    print(
        "\n| set | stream | pictures | false alarms | allowed | kind shares |\n" + "|---" * 6 + "|"
    )
    for name, result in found.items():
        streams = result["false_alarms"] | {
            f"coil after coil, --pictures-per-part {run}": each
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
    done = list(next(iter(found.values()))["remedies"]["noise 6"])
    print("\n| set | change | " + " | ".join(done) + " |\n|---|---" + "|---" * len(done) + "|")
    for name, result in found.items():
        for change, each in result["remedies"].items():
            cells = [
                f"{one['mean']:.1f}"
                if word in done[:2]
                else f"{one['gain']:+.1f} ± {one['ci95']:.1f}"
                for word, one in each.items()
            ]
            print(f"| {name} | {change} | {' | '.join(cells)} |")


def show_needed(needed: dict[str, dict[str, float | None]]) -> None:
    """A markdown table: pictures until a made-up new defect is noticed."""
    shares = list(next(iter(needed.values())))
    print("\n| share of the pictures | " + " | ".join(needed) + " |")
    print("|---" * (len(needed) + 1) + "|")
    for share in shares:
        cells = (delays[share] for delays in needed.values())
        row = " | ".join("not" if cell is None else f"{cell:g}" for cell in cells)
        print(f"| {100 * float(share):g} % | {row} |")
