"""Measurements of `gpu.sh` to the page docs/results/gpu.md.

    python -m benchmarks.gpu.table docs/results/gpu.md docs/results

The part of the page between two marks is written again from the folder's gpu_*.json, one card each.
What was not measured, or not on a GPU, is called so.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvgssl.runtime.files import write_text

BEGIN = "<!-- by python -m benchmarks.gpu.table docs/results/gpu.md docs/results -->"
END = "<!-- end of what it wrote -->"
MISSING = "not measured"
Row = Mapping[str, Any]


def main() -> int:
    """Rewrite the page."""
    page, folder = map(Path, sys.argv[1:])
    write_text(page, updated(page.read_text(encoding="utf-8"), measurements(folder)))
    return 0


def measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a folder, by name."""
    paths = sorted(folder.glob("gpu_*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def updated(text: str, results: Sequence[Row]) -> str:
    """The page with its part between the marks replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "the page has lost its marks"
    return f"{before}{BEGIN}\n{page(results)}{END}{after}"


def page(results: Iterable[Row]) -> str:
    """Markdown for all measurements; those made without a GPU do not count."""
    cards = [_card(result) for result in results if result["gpu"] and not result["tiny"]]
    return "\n".join(cards) or f"\nEvery figure of a GPU: {MISSING}.\n\n"


def _card(result: Row) -> str:
    facts, sections = result["environment"], result["sections"]
    packages = facts["packages"]
    lines = [
        f"\n**{result['gpu']}**, {facts['cores']} cores, torch {packages['torch']}, timm "
        f"{packages['timm']}, Python {facts['python']}, {result['date']}; "
        f"`benchmarks/gpu.sh` took {result['seconds']:.0f} s.\n"
    ]
    for name, (title, write) in _PARTS.items():
        section = sections.get(name, {"status": MISSING, "rows": {}})
        lines.append(f"*{title}*\n")
        if section["rows"]:
            lines.append(write(section["rows"]))
        if section["status"] != "complete":
            reason = " ".join(section.get("errors", [])[-1:])
            lines.append(f"{section['status']}{': ' if reason else ''}{reason}\n")
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) + "\n"


def _number(row: Row, name: str, form: str = ",.0f") -> str:
    value = row.get(name)
    return MISSING if value is None else format(value, form)


def _equality(rows: Row) -> str:
    kinds = ("gpu", "cpu, other threads", "repeated on the gpu")
    head = ["difference from the CPU: first loss / worst loss / weights", "GPU"]
    head += ["CPU with other threads", "GPU once more, from the GPU"]
    body = []
    for name, row in rows.items():
        if name == "stored embeddings":
            body.append([name, f"{row['worst difference']:.0e}", "", ""])
            continue
        cells = []
        for kind in kinds:
            found = row[kind]
            text = f"{found['first loss']:.0e} / {found['worst loss']:.0e} / {found['weights']:.0e}"
            cells.append("identical" if found["identical"] else text)
        body.append([name, *cells])
    return _table(head, body)


def _encoders(rows: Row) -> str:
    names = [name for name in rows if not name.endswith(", compiled") and "bf16" in rows[name]]
    body = []
    for name in names:
        compiled = rows.get(f"{name}, compiled", {})
        cells = [_number(row, kind) for row in (rows[name], compiled) for kind in ("bf16", "fp16")]
        body.append([name, *cells])
    text = _table(["pictures/s", "bf16", "fp16", "compiled, bf16", "compiled, fp16"], body)
    row = rows.get("cvgssl embed")
    if row is None:
        return text
    return text + (
        f"\n`cvgssl embed` of {row['pictures']} pictures on disk, {row['encoder']}, "
        f"{row['precision']}: {row['seconds']:.1f} s ({row['pictures per second']:.0f} "
        f"pictures/s); decoding them alone takes {row['seconds of decoding alone']:.1f} s.\n"
    )


def _steps(rows: Row) -> str:
    head = [
        "student, method",
        "views/s",
        "peak GiB",
        "parts of a batch",
        "GPU busy, profiled",
        "ms per step",
    ]
    head += ["GPU's work by phase, ms", "GPU idle by phase, ms", "main thread meanwhile, ms"]
    body = []
    for name, row in rows.items():
        activity = row.get("activity", {})
        body.append(
            [
                name,
                _number(row, "views per second"),
                _number(row, "peak memory, GiB", ".1f"),
                _number(row, "accumulate", "d"),
                _number(activity, "busy", ".0%"),
                _number(row, "ms per step", ".0f"),
                *(_times(activity.get(kind, {})) for kind in ("gpu", "idle", "waits")),
            ]
        )
    return _table(head, body)


def _times(times: Row) -> str:
    largest = sorted(times.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {time:.1f}" for name, time in largest if time >= 0.05)


def _precision(rows: Row) -> str:
    curves = {name: row for name, row in rows.items() if "loss" in row}
    head = ["precision", "loss at steps 1, 10, 25 and last", "worst difference from fp32"]
    body = []
    for name, row in curves.items():
        curve = row["loss"]
        places = sorted({min(step, len(curve)) - 1 for step in (1, 10, 25, len(curve))})
        shown = ", ".join(f"{curve[place]:.4f}" for place in places)
        body.append(
            [name, shown, f"{row['worst over fp32']:.1%}", str(row.get("skipped steps", ""))]
        )
    text = _table([*head, "skipped steps"], body)
    for name, row in rows.items():
        if name not in curves:
            same = "identical" if row["identical"] else "not identical"
            again = "identical" if row["a repetition is identical"] else "not identical"
            text += f"\n{name}: {same}; a mere repetition: {again}.\n"
    return text


def _view_rates(rows: Row) -> str:
    return _table(
        ["views", "views/s"], ([n, _number(r, "views per second")] for n, r in rows.items())
    )


def _paper(rows: Row) -> str:
    training = rows.get("training", {})
    shots = [name for row in rows.values() for name in row if name.endswith("label(s)")]
    shots = list(dict.fromkeys(shots))
    body = [
        [name, *(f"{row[shot][0]:.1f} ± {row[shot][1]:.1f}" for shot in shots)]
        for name, row in rows.items()
        if name != "training"
    ]
    speed = (
        f"{training['epochs']} of 300 epochs in {training['seconds']:.0f} s, "
        f"{training['views per second']:.0f} views/s\n\n"
        if training
        else ""
    )
    return speed + _table(["macro-recall, %", *shots], body)


def _deployment(rows: Row) -> str:
    names = [name for name in rows if name.startswith("embed, ")]
    head = ["`cvgssl embed` on one GPU", "pictures/s", "seconds with starting"]
    body = []
    for name in names:
        row = rows[name]
        difference = _number(row, "worst difference", ".0e")
        body.append(
            [
                name.removeprefix("embed, "),
                _number(row, "pictures per second"),
                _number(row, "seconds", ".1f"),
                difference,
            ]
        )
    text = _table([*head, "worst difference from one"], body) if body else ""
    row = rows.get("export")
    if row is None:
        return text
    if "MB" not in row:
        reason = row.get("refused") or row.get(MISSING)
        return f"{text}\nA recognizer by ONNX Runtime on the CPU: {MISSING} ({reason}).\n"
    return text + (
        f"\nA recognizer of {row['encoder']}, made on the GPU, exported in {row['seconds']:.0f} s "
        f"({row['MB']:.0f} MB): by ONNX Runtime on the CPU {row['pictures']} pictures get the same "
        f"class, with probabilities that differ by at most {row['worst probability']:.0e}; "
        f"{row['ms per picture on the CPU']:.1f} ms per picture.\n"
    )


_PARTS = {
    "equality": ("Equality: ten steps in fp32 without TF32, against the CPU", _equality),
    "encoders": ("Frozen encoders, 224 px, batch 256", _encoders),
    "step": ("The pre-training step: 224 px, five views, bf16", _steps),
    "precision": ("Precision: averaged weights, accumulation, one step per epoch", _precision),
    "view_rates": ("Random views, 224 px", _view_rates),
    "paper": ("`--preset paper`, generated pictures, the default encoder as teacher, bf16", _paper),
    "deployment": ("Several processes on the GPU, and the CPU's answers", _deployment),
}


if __name__ == "__main__":
    sys.exit(main())
