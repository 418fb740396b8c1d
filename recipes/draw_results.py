"""Draw the pictures of docs/results/ from its JSON and CSV files.

    python recipes/draw_results.py docs/results docs/results

Every picture is one function that names the files it reads. Nothing is measured. Bars and bands
are 95 % intervals over the draws; draw_pretrain.py and select_curve.py draw pictures of their own.
"""

import argparse
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from result_plots import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    SETS,
    curve,
    dots,
    finish,
    interval,
    legend,
    shots,
    side_by_side,
    table,
)

from cvgssl.runtime.files import writing

RECALL = "macro-recall on test/, %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    pictures = (few_labels, heads, pretrained_heads, unknown, finetuning, speed, generated, station)
    for picture in pictures:
        figure = picture(args.results)
        FigureCanvasAgg(figure)
        with writing(args.out / f"{picture.__name__.replace('_', '-')}.png") as file:
            figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


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


def unknown(results: Path) -> Figure:
    """Ranking of a class without labels, and what `--unknown` does with the pictures."""
    found = json.loads((results / "unknown.json").read_text())["data"]
    cases = (
        ("in the pool", "unknown class among the unlabelled pictures", ORANGE, "s"),
        ("not in the pool", "unknown class not among them", BLUE, "o"),
        ("inductive", "no unlabelled pictures (inductive)", GRAY, "D"),
    )
    kinds = (
        ("auroc", "AUROC of the score, %"),
        ("known_rejected", "false-rejection rate, %"),
        ("wrong", "wrong among the answered, %"),
    )
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    panels = figure.subplots(len(SETS), len(kinds))
    for line, data in zip(panels, SETS, strict=True):
        for axes, (kind, title) in zip(line, kinds, strict=True):
            for case, name, colour, marker in cases:
                values = found[data]["unknown"][case]
                points = {
                    float(shot): (one[kind]["mean"], one[kind]["ci95"] or 0)
                    for shot, one in values.items()
                }
                curve(axes, points, colour, marker, name)
            axes.set_title(f"{data}: {title}", loc="left", fontsize=9.5)
            shots(axes)
    legend(figure, panels[0, 0], 3)
    return figure


def finetuning(results: Path) -> Figure:
    """Fine-tuning, LoRA, pseudo-labels and heads on the same draws."""
    cells = json.loads((results / "finetune_semi.json").read_text())["cells"]
    rows = list(dict.fromkeys((cell["head"], cell["setting"]) for cell in cells))
    rows.sort(key=lambda row: (row[1] == "inductive", row[0]), reverse=True)
    figure, panels = side_by_side(3.7, sharey=True)
    for axes, data in zip(panels, SETS, strict=True):
        for shot, colour, marker in ((1, BLUE, "o"), (4, ORANGE, "s")):
            values = [
                interval(cell["macro_recall"])
                for row in rows
                for cell in cells
                if (cell["head"], cell["setting"]) == row
                and (cell["data"], cell["shot"]) == (data, shot)
            ]
            name = f"{shot} label{'s' * (shot > 1)} per class"
            dots(axes, values, 0.1 if shot == 4 else -0.1, colour, marker, name)
        axes.set_yticks(range(len(rows)), [f"{head}, {setting}" for head, setting in rows])
        finish(axes, data, RECALL)
    legend(figure, panels[0], 2)
    return figure


def speed(results: Path) -> Figure:
    """How many times faster than the published recipe as a plain loop; a logarithmic axis."""
    bars: list[tuple[str, float]] = []
    for name, words in (
        ("adaptation_generated", "generated, 300 per class"),
        ("adaptation_neu_cls", "NEU-CLS"),
        ("adaptation_generated_60", "generated, 60 per class"),
    ):
        found = json.loads((results / f"{name}.json").read_text())
        tuned = found["finetune"]
        bars += [
            (f"linear evaluation, whole job, {words} *", found["linear"]["times faster"]),
            (f"fine-tuning with --eval-every 10, {words}", tuned["eval-every 10"]["times faster"]),
            (f"fine-tuning, test/ in every epoch, {words}", tuned["each epoch"]["times faster"]),
        ]
    views = json.loads((results / "views.json").read_text())["sizes"]
    bars += [(f"random views of {side} px", views[side]["ratio_of_medians"]) for side in views]
    bars.sort(key=lambda bar: bar[1])
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh([name for name, _ in bars], [value for _, value in bars], color=BLUE)
    axes.bar_label(drawn, [f"{value:.3g}" for _, value in bars], padding=3, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(1, 900)
    axes.set_xlabel("times faster; * time of the plain loop extrapolated from its median epoch")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure


def generated(results: Path) -> Figure:
    """How hard the generated pictures are, beside NEU-CLS."""
    files = (
        ("synth_difficulty", "generated, seed 2", ORANGE, "s"),
        ("difficulty_neu_cls", "NEU-CLS", BLUE, "o"),
    )
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for file, name, colour, marker in files:
        found = json.loads((results / f"{file}.json").read_text())["macro_recall"]
        values = [(value, 0.0) for value in found.values()][::-1]
        dots(axes, values, 0, colour, marker, name)
    axes.set_yticks(range(len(found)), list(found)[::-1], fontsize=9)
    axes.axvline(100 / 6, color=GRAY, lw=1, ls="--")
    finish(axes, "", "macro-recall, %; dashed: guessing")
    legend(figure, axes, 2)
    return figure


def station(results: Path) -> Figure:
    """What labels bring, chosen as the station does, by one list, at random."""
    rows = json.loads((results / "station.json").read_text())["labels"]
    sets = {"gc10": "GC10-224, 910 pictures", "plant10k": "generated plant, 2000 pictures"}
    ways = (
        ("station", "as the station asks, in rounds of six", ORANGE, "s"),
        ("one list", "one list by cvgssl select", BLUE, "o"),
        ("random", "at random", GRAY, "^"),
    )
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    figures = (("found", "classes found"), ("macro-recall", "macro-recall of auto, %"))
    for column, (name, title) in enumerate(sets.items()):
        for line, (key, below) in enumerate(figures):
            axes = panels[line][column]
            for way, words, colour, marker in ways:
                points = {
                    float(row["labels"]): tuple(row[key])
                    for row in rows
                    if (row["pictures"], row["way"]) == (name, way)
                }
                curve(axes, points, colour, marker, words)
            axes.set_xscale("log", base=2)
            axes.set_xticks([6, 12, 24, 48, 96], ["6", "12", "24", "48", "96"])
            axes.set_ylabel(below, fontsize=9)
            finish(axes, title if line == 0 else None, "labels" if line else "")
    legend(figure, panels[0][0], 3)
    return figure


if __name__ == "__main__":
    main()
