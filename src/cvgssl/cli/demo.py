"""`cvgssl demo DIR`: from unlabelled pictures of a generated plant to a recognizer, on the CPU."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.cli.demo_page import (
    GALLERY,
    HELD_BACK,
    NEW_KIND,
    PAGE,
    REJECTED,
    ROUNDS,
    demo_page,
)
from cvgssl.recognizer.config import FitConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.lock import NAME as LOCK
from cvgssl.runtime.lock import locked_folder
from cvgssl.runtime.options import STRICT, Written

if TYPE_CHECKING:
    from cvgssl.recognizer.fit import FitSummary
    from cvgssl.recognizer.predict import Prediction

PLANT, RECOGNIZER, STATION = "plant", "recognizer", "station"


@plain_dataclass(frozen=True)
class Scale:
    """How large the demo is. The plant is an illustration: its options were chosen by looking.

    parts, good_share, defect_area, test_fraction: of `cvgssl data synth`. image_size: of the
    pictures. budgets: labels of each round. encoder: as --encoder; () is the default one.
    """

    parts: int = 600
    good_share: float = 0.5
    defect_area: float = 1.0
    test_fraction: float = 0.4
    image_size: int = 200
    budgets: tuple[int, ...] = (20, 20, 20)
    encoder: tuple[str, ...] = ()


@dataclass(frozen=True, config=STRICT)
class DemoConfig:
    """Generate a plant's pictures, check, choose what to label, make a recognizer, reject.

    The pictures are generated and so are their labels; the last lines say how good the recognizer
    is and name the page that shows it.
    """

    out: Annotated[Path, Written(folder=True)] = Field(
        default=Path("demo"),
        description="folder for pictures and results, written again at each call",
    )


COMMAND = Command(DemoConfig, positional=("out",))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the demo; 0 when everything worked."""
    out = COMMAND.parse(argv, prog).out
    with locked_folder(out, "OUT"):
        _clear(out)
        demonstrate(out)
    return 0


def demonstrate(out: Path, scale: Scale = Scale()) -> Path:
    """All steps, each with the command that does the same; gives the page."""
    from cvgssl.recognizer.predict import predict

    plant, new_kind = out / PLANT, out / NEW_KIND
    _generate(plant, new_kind, scale)
    _step(2, "Check them for what would spoil a result")
    _command("data", "check", str(plant))
    labels = _label(out, plant, scale)
    config, summary = _fit(out, plant, labels, scale)

    _step(5, f"Classify new pictures: test/, and {HELD_BACK}, which it has never seen")
    print(
        f"$ cvgssl predict {join([str(config.out), str(plant / 'test'), str(new_kind)])} --unknown"
    )
    known = predict(config.out, [plant / "test"], unknown=True)
    new = predict(config.out, [new_kind], unknown=True)
    rows = _rejections(known, new)
    print("\n".join(f"{name}: {', '.join(_counted(row))}" for name, *row in rows))

    page = demo_page(out, config, summary, rows, known, new)
    _summarize(summary, known, new, page)
    return page


def _generate(plant: Path, new_kind: Path, scale: Scale) -> None:
    _step(1, f"Generate a plant: mostly good parts; {HELD_BACK} are put aside as a new kind")
    options = {
        "--good-share": scale.good_share,
        "--parts": scale.parts,
        "--defect-area": scale.defect_area,
        "--test-fraction": scale.test_fraction,
        "--image-size": scale.image_size,
    }
    _command("data", "synth", str(plant), *(str(word) for pair in options.items() for word in pair))
    new_kind.mkdir()
    for split in ("train", "test"):
        for picture in sorted((plant / split / HELD_BACK).iterdir()):
            picture.rename(new_kind / picture.name)
        (plant / split / HELD_BACK).rmdir()
    print(f"{len(list(new_kind.iterdir()))} pictures of {HELD_BACK} are in {new_kind} now")


def _label(out: Path, plant: Path, scale: Scale) -> Path:
    """Choose and label, round by round; the list with all labels."""
    from cvgssl.selection.label_list import read_labels, write_labels
    from cvgssl.selection.select import LIST

    _step(3, "Choose what to label; the generator's truth stands in for the person who labels")
    labels = Path()
    for number, budget in enumerate(scale.budgets, 1):
        folder = out / f"{ROUNDS}_{number}"
        before = ["--labels", str(labels)] if number > 1 else []
        _command(
            *("select", str(plant), "--budget", str(budget), *before, "--out", str(folder)),
            *(["--encoder", *scale.encoder] if scale.encoder else []),
        )
        labels = folder / LIST
        chosen = [line.path for line in read_labels(labels, "--labels")]
        if number == len(scale.budgets):
            chosen += _missing(plant, chosen)
        write_labels([(name, _truth(name)) for name in chosen], labels)
        counts = Counter(map(_truth, chosen))
        print(f"labelled: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}\n")
    return labels


def _missing(plant: Path, chosen: Sequence[str]) -> list[str]:
    """A picture of each class without one: a class cannot be learned without."""
    kinds = {_truth(name) for name in chosen}
    added = [
        f"train/{folder.name}/{min(each.name for each in folder.iterdir())}"
        for folder in sorted((plant / "train").iterdir())
        if folder.name not in kinds
    ]
    if added:
        print(f"not among the chosen, so an example is added by hand: {', '.join(added)}")
    return added


def _fit(out: Path, plant: Path, labels: Path, scale: Scale) -> tuple[FitConfig, "FitSummary"]:
    from cvgssl.api import fit
    from cvgssl.cli.fit import print_fit
    from cvgssl.encoders.installed_weights import INSTALLED

    _step(4, "Make a recognizer from these labels and the pictures without label")
    config = FitConfig(
        data=plant,
        labels=labels,
        out=out / RECOGNIZER,
        encoder=scale.encoder or (INSTALLED,),
    )
    print(
        f"$ cvgssl fit {join([str(plant), '--labels', str(labels), '--out', str(config.out)])}",
        flush=True,
    )
    folder, summary = fit(config)
    print_fit(folder, summary)
    return config, summary


def _rejections(known: Sequence["Prediction"], new: Sequence["Prediction"]) -> list[list[str]]:
    """Of each group: pictures, right, misclassified, unknown, not sure."""
    rows = []
    for name, predictions in (("test/, known classes", known), (f"{HELD_BACK}, a new kind", new)):
        verdicts = Counter(prediction.verdict for prediction in predictions)
        right = sum(prediction.answer == prediction.path.parent.name for prediction in predictions)
        counts = (right, verdicts["known"] - right, *(verdicts[word] for word in REJECTED))
        rows.append([name, str(len(predictions)), *map(str, counts)])
    return rows


def _counted(row: Sequence[str]) -> list[str]:
    words = ("pictures", "right", "misclassified", *(f'"{word}"' for word in REJECTED))
    return [f"{count} {word}" for count, word in zip(row, words, strict=True)]


def _summarize(
    summary: "FitSummary", known: Sequence["Prediction"], new: Sequence["Prediction"], page: Path
) -> None:
    test = summary.test
    assert test is not None
    low, high = test.macro_recall_interval
    rejected, falsely = (
        sum(prediction.answer in REJECTED for prediction in some) for some in (new, known)
    )
    print(
        f"\nFrom {summary.labelled} labels: macro-recall {test.macro_recall:.1f} % "
        f"({low:.1f} to {high:.1f} %), accuracy {test.accuracy:.1f} % on {test.pictures} test "
        f"pictures of {len(summary.classes)} classes; {rejected} of {len(new)} pictures of a kind "
        f"never seen are rejected, and {falsely} of these {len(known)} test pictures.\n"
        "The pictures are generated: this shows what the product does, not how good it is on "
        "steel.\nReal steel is in docs/results.md.\n"
        f"Look at {page}\n"
        f"or label, recognize and review in a browser: $ cvgssl {join(_station(page.parent))}"
    )


def _station(folder: Path) -> list[str]:
    """The words of the command that opens a station on the demo's plant."""
    words = ["station", folder / STATION, "--pictures", folder / PLANT]
    return [*map(str, words), "--recognizer", str(folder / RECOGNIZER)]


def _step(number: int, text: str) -> None:
    print(f"{'' if number == 1 else chr(10)}{number}. {text}", flush=True)


def _command(*words: str) -> None:
    """Print and run a command of cvgssl."""
    from cvgssl.cli import data_check, data_synth, select

    print(f"$ cvgssl {join(words)}", flush=True)
    commands = {"synth": data_synth.run, "check": data_check.run}
    if words[0] == "data":
        commands[words[1]](words[2:], f"cvgssl data {words[1]}")
    else:
        select.run(words[1:], "cvgssl select")


def _truth(name: str) -> str:
    return name.split("/")[1]


def _clear(out: Path) -> None:
    """Remove an earlier demo, whole or killed, and nothing else; the folder itself stays."""
    ours = [PLANT, NEW_KIND, RECOGNIZER, GALLERY, PAGE]
    ours += [f"{ROUNDS}_{number}" for number in range(1, len(Scale().budgets) + 1)]
    unfinished = tuple(f".{name}." for name in ours)  # as runtime.files calls what it writes
    earlier = [path for path in out.iterdir() if path.name != LOCK]
    if not all(path.name in ours or path.name.startswith(unfinished) for path in earlier):
        raise UserError(f"OUT {out}: holds other things than a demo; name another folder")
    for path in earlier:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
