"""`cvgssl select DATA --budget N`: which pictures to label first."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from cvgssl.cli.command import Command
from cvgssl.selection.config import SelectConfig

if TYPE_CHECKING:
    from cvgssl.features.table import FeatureTable

SHEET = "selection.png"
MOST_SUSPECTED = 5  # labels that are printed


COMMAND = Command(SelectConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Choose, write the folder, say what comes next."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.features.picture_folder import not_shown
    from cvgssl.images.names import KnownNames
    from cvgssl.report.selection import selection_sheet
    from cvgssl.runtime.files import new_folder
    from cvgssl.selection.label_list import UNSURE, known_lines, read_labels, warn_of_like_names
    from cvgssl.selection.select import FACTS, LIST, select, write_selection

    lines = read_labels(config.labels, "--labels") if config.labels else []
    table = _features(config)
    known = KnownNames(table.names, _pictures(config, table))
    lines = known_lines(lines, known, f"--labels {config.labels}")
    named = [line.label for line in lines if line.label and line.label != UNSURE]
    warn_of_like_names(named, f"--labels {config.labels}")
    selection = select(table, config.budget, config.strategy, lines, config.seed)
    with new_folder(config.out, "--out") as folder:
        write_selection(selection, folder, _facts(config, table))
        note = ""
        if config.is_features_file and not config.pictures:
            note = not_shown(config.data, table.about, "--pictures")
        if not note:
            note = selection_sheet(
                selection.chosen, _pictures(config, table), folder / SHEET, config.max_megapixels
            )
    before = f", beside {len(selection.kept)} in {config.labels}" if config.labels else ""
    print(
        f"chosen: {config.budget} of {selection.train_pictures} train pictures by "
        f"{config.strategy}{before}"
    )
    if selection.outlook is not None:
        print(selection.outlook)
        print(selection.held_out)
    for path, label, instead in selection.suspected[:MOST_SUSPECTED]:
        print(f"look again: {path} is labelled {label}, by the other labels it is {instead}")
    if len(selection.suspected) > MOST_SUSPECTED:
        print(f"and {len(selection.suspected) - MOST_SUSPECTED} more, in {FACTS}")
    if note:
        print(note)
    filled = quote(str(config.out / LIST))
    data = "DATA" if config.is_features_file else quote(str(config.data))
    encoder = f" --encoder {' '.join(map(quote, config.encoder))}" if config.encoder else ""
    print(
        f"fill in the labels in {filled} (? where nobody can tell), then\n"
        f"  cvgssl fit {data}{encoder} --labels {filled}     for a recognizer at once"
    )
    if table.classes:  # it takes them from the folders
        print(f"  cvgssl finetune {data} --labels {filled}     to train on them")
    print(f"  cvgssl select {data}{encoder} --labels {filled} ...     to add what teaches most")
    return 0


def _features(config: SelectConfig) -> "FeatureTable":
    if config.is_features_file:
        from cvgssl.features.table import load_features

        return load_features(config.data)
    from cvgssl.encoders.installed_weights import INSTALLED
    from cvgssl.features.config import EmbedConfig
    from cvgssl.features.embed import embed

    encoder = config.encoder or (INSTALLED,)
    return embed(
        EmbedConfig(
            data=config.data,
            encoder=encoder,
            class_folders=config.class_folders,
            max_megapixels=config.max_megapixels,
            runtime=config.runtime,
        )
    )


def _facts(config: SelectConfig, table: "FeatureTable") -> dict[str, Any]:
    return {
        "strategy": config.strategy,
        "budget": config.budget,
        "seed": config.seed,
        "data": str(config.data),
        "labels": None if config.labels is None else str(config.labels),
        "features": {"numbers": int(table.values.shape[1])} | table.about,
    }


def _pictures(config: SelectConfig, table: "FeatureTable") -> Path:
    """The folder that the names in the table are relative to, as far as is known."""
    if config.pictures is not None:
        return config.pictures
    data = Path(str(table.about.get("data", ""))) if config.is_features_file else config.data
    return data.parent if data.is_file() else data
