"""Draw the pictures of docs/results/ that compare heads, encoders and numbers of labels.

    python recipes/draw_heads.py docs/results docs/results

Every picture is one function that names the files it reads. Nothing is measured. Bars are 95 %
intervals over the draws.
"""

import json
from pathlib import Path

from matplotlib.figure import Figure
from result_plots import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RECALL,
    SETS,
    curve,
    dots,
    draw,
    finish,
    interval,
    legend,
    shots,
    side_by_side,
    table,
)


def main() -> None:
    draw(defaults, dominated, few_labels, heads, pretrained_heads)


def defaults(results: Path) -> Figure:
    """`cvgssl fit` by its defaults, and labels alone; a little apart, so that bars can be told."""
    rows = table(results / "heads_defaults.csv", "EfficientNet-Lite0")
    sets = {
        "NEU-CLS": "NEU-CLS, 6 classes",
        "X-SDD": "X-SDD, 7 classes",
        "GC10-224": "GC10, 10 classes",
    }
    fit = "cvgssl fit: auto, unlabelled pictures used (semi-supervised)"
    ways = (
        (fit, "semi-supervised", "auto", ORANGE, "s", 0.97),
        ("labels alone: logistic regression (inductive)", "inductive", "logistic", GRAY, "D", 1.03),
    )
    figure, panels = side_by_side(3.6, sharey=True, panels=len(sets))
    for axes, (data, title) in zip(panels, sets.items(), strict=True):
        for name, setting, head, colour, marker, shift in ways:
            points = {shift * shot: value for shot, value in rows[data, setting, head].items()}
            curve(axes, points, colour, marker, name)
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_ylim(30, 101)
        shots(axes)
        axes.set_xticks([1, 4, 16])  # what was measured
    panels[0].set_ylabel(RECALL)
    legend(figure, panels[0], 2)
    return figure


def dominated(results: Path) -> Figure:
    """What a dominating class does to heads that use unlabelled pictures."""
    rows = json.loads((results / "dominated.json").read_text())
    sets = {"X-SDD": "X-SDD", "NEU-CLS": "NEU-CLS", "GC10-224": "GC10"}
    ways = (
        ("transport", PURPLE, "^"),
        ("diffusion", BLUE, "o"),
        ("logistic (labels alone)", GRAY, "D"),
        ("auto", ORANGE, "s"),
    )
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, len(sets), sharex=True, sharey=True)
    for line, shot in zip(panels, (1, 4), strict=True):
        for axes, (data, title) in zip(line, sets.items(), strict=True):
            pools = [
                row for row in rows if (row["features"], row["shot"]) == (f"{data}.lite0", shot)
            ]
            for name, colour, marker in ways:
                points = sorted((row["largest"], row[name.split()[0]]) for row in pools)
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=5, label=name)
            words = f"{title}, {shot} label{'s' * (shot > 1)} per class"
            finish(axes, words, "share of the largest class, %" if shot > 1 else "")
            axes.set_ylim(0, 101)
        line[0].set_ylabel("macro-recall, %")
    legend(figure, panels[0][0], len(ways))
    return figure


def few_labels(results: Path) -> Figure:
    """The three ways to a recognizer, and fine-tuning as published."""
    frozen, student = (
        table(results / "heads_three_depths.csv"),
        table(results / "heads_student.csv"),
    )
    tuned = json.loads((results / "few_shot_real.json").read_text())
    figure, panels = side_by_side(4.1)
    for axes, data in zip(panels, SETS, strict=True):
        ways = (
            (
                "+ unlabelled pictures of train/, auto (semi-supervised)",
                ORANGE,
                "s",
                frozen,
                "auto",
            ),
            (
                "encoder pre-trained on train/, no labels (inductive)",
                BLUE,
                "o",
                student,
                "kernel-ridge",
            ),
            ("labels alone, frozen encoder (inductive)", GRAY, "D", frozen, "kernel-ridge"),
        )
        for name, colour, marker, source, head in ways:
            setting = "semi-supervised" if head == "auto" else "inductive"
            curve(axes, source[data, setting, head], colour, marker, name)
        points = {
            float(run["shot"]): interval(
                [one["macro_recall"] for one in run["last_epoch"]["by_draw"]]
            )
            for run in tuned
            if run["data"] == data and run["mode"] == "fine-tuning" and run["pretrained"]
        }
        curve(axes, points, "black", "x", "fine-tuning as published (inductive)", line=":")
        axes.set_title(data, loc="left", fontsize=11)
        axes.set_ylim(55, 101)
        shots(axes)
    panels[0].set_ylabel(RECALL)
    legend(figure, panels[0], 2)
    return figure


def heads(results: Path) -> Figure:
    """All heads on the frozen encoder at four labels per class, a colour per setting."""
    rows = table(results / "heads_three_depths.csv")
    names = list(dict.fromkeys(head for _, _, head in rows))[::-1]
    settings = (
        ("inductive", GRAY, "D"),
        ("semi-supervised", ORANGE, "s"),
        ("transductive", PURPLE, "^"),
    )
    figure, panels = side_by_side(4.6, sharey=True)
    for axes, data in zip(panels, SETS, strict=True):
        for place, (setting, colour, marker) in enumerate(settings):
            values = [rows[data, setting, name][4] for name in names]
            dots(axes, values, 0.2 * (1 - place), colour, marker, setting)
        axes.set_yticks(range(len(names)), names)
        finish(axes, f"{data}, 4 labels per class", RECALL)
    legend(figure, panels[0], 3)
    return figure


def pretrained_heads(results: Path) -> Figure:
    """Labels alone and a map, on the frozen encoder, the pre-trained one, and both."""
    files = {
        "frozen": ("heads_three_depths", GRAY, "D"),
        "pre-trained without labels": ("heads_student", BLUE, "o"),
        "both side by side": ("heads_beside", GREEN, "^"),
    }
    figure, panels = side_by_side(3.9)
    for axes, data in zip(panels, SETS, strict=True):
        for name, (file, colour, marker) in files.items():
            rows = table(results / f"{file}.csv")
            kept = {
                setting: {shot: rows[data, setting, head][shot] for shot in (1, 4, 16)}
                for setting, head in (
                    ("inductive", "kernel-ridge"),
                    ("semi-supervised", "diffusion"),
                )
            }
            curve(axes, kept["inductive"], colour, marker, f"{name}: labels alone (inductive)")
            curve(
                axes,
                kept["semi-supervised"],
                colour,
                marker,
                f"{name}: diffusion (semi-supervised)",
                line=":",
            )
        axes.set_title(data, loc="left", fontsize=11)
        shots(axes)
    panels[0].set_ylabel(RECALL)
    legend(figure, panels[0], 2)
    return figure


if __name__ == "__main__":
    main()
