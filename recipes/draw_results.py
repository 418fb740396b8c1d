"""Draw the pictures of docs/results/ that no script of their own draws.

    python recipes/draw_results.py docs/results docs/results

Every picture is one function that names the files it reads. Nothing is measured. Bars are 95 %
intervals over the draws. draw_heads.py, draw_pretrain.py and select_curve.py draw the others.
"""

import json
from pathlib import Path

from matplotlib.figure import Figure
from result_plots import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
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
)


def main() -> None:
    draw(change, unknown, finetuning, speed, gpu, generated, station)


def change(results: Path) -> Figure:
    """Gains over doing nothing when pictures change, a panel for each set."""
    found = json.loads((results / "change.json").read_text())["data"]
    titles = {
        "gain 0.9": "10 % darker",
        "gain 0.75": "25 % darker",
        "gamma 1.4": "gamma 1.4",
        "gradient": "gradient of the light",
        "blur 1 %": "blur, 1 % of the side",
        "rotation 5": "rotated by 5°",
        "zoom 1.1": "magnified 1.1 times",
        "noise 6": "noise of 6 gray levels",
    }
    ways = (
        ("re-centred", "re-centred", BLUE, "o"),
        ("re-centred by other shares", "re-centred, class shares changed too", ORANGE, "s"),
        ("3 labels, least sure", "3 labels of the least sure", GREEN, "^"),
        ("3 labels, least sure, re-centred", "3 such labels, re-centred", "black", "D"),
    )
    figure, panels = side_by_side(4.6, sharey=True, panels=len(found))
    for axes, (data, result) in zip(panels, found.items(), strict=True):
        changes = list(result["remedies"])
        for place, (way, name, colour, marker) in enumerate(ways):
            gains = [result["remedies"][change][way] for change in changes]
            values = [(one["gain"], one["ci95"]) for one in gains]
            dots(axes, values, 0.18 * (place - 1.5), colour, marker, name)
        axes.axvline(0, color=GRAY, lw=1)
        axes.set_yticks(range(len(changes)), [titles[change] for change in changes])
        finish(axes, "generated plant" if data == "plant" else data, "points gained")
    panels[0].invert_yaxis()
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


def gpu(results: Path) -> Figure:
    """Views per second of the pre-training step, by student and method."""
    rows = json.loads((results / "gpu_h200.json").read_text())["sections"]["step"]["rows"]
    students = {
        "resnet18, batch 64": "ResNet-18, batch 64",
        "resnet50, batch 256": "ResNet-50, batch 256",
        "vit_base_patch16_224, batch 256": "ViT-B/16, batch 256",
    }
    ways = (
        ("published, no bank", "published, teachers in every step", GRAY),
        ("published, bank of 8", "published, bank of 8 versions", ORANGE),
        ("spectral", "spectral guidance", BLUE),
        ("mocov3, no teacher", "MoCo v3, no teacher", GREEN),
    )
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
    for place, (key, name, colour) in enumerate(ways):
        values = [rows[f"{student}, {key}"]["views per second"] for student in students]
        at = [row + 0.2 * (place - 1.5) for row in range(len(students))]
        drawn = axes.barh(at, values, height=0.18, color=colour, label=name)
        axes.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=3, fontsize=9)
    axes.set_yticks(range(len(students)), list(students.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, 4600)
    finish(axes, None, "views per second, one NVIDIA H200, bf16, 224 px")
    legend(figure, axes, 2)
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
