"""What the classes are called, as a CLIP's text tower sees it, for the heads that ask for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.embedding import FEATURES
from cvgssl.bench.entries import FeatureSource
from cvgssl.bench.recorded import file_name
from cvgssl.bench.sources import LoadedSource
from cvgssl.features.class_texts import texts_table
from cvgssl.features.table import save_features
from cvgssl.heads import TEXT_HEADS
from cvgssl.runtime.errors import UserError

if TYPE_CHECKING:
    from cvgssl.encoders.text_anchors import TextAnchors
    from cvgssl.encoders.text_tower import TextTower, TextTowerError


def with_texts(
    config: BenchConfig, entries: Sequence[FeatureSource], sources: Sequence[LoadedSource]
) -> tuple[list[LoadedSource], list[str]]:
    """The sources, with text embeddings of their classes where heads want them and they can be had.

    entries: where each source comes from. Also gives a line for each source that has to do without.
    Raises UserError for files that are not there and prompts that do not fit, all at once.
    """
    wanted = [choice.label for choice in config.choices() if choice.head in TEXT_HEADS]
    if not wanted:
        return list(sources), []
    from cvgssl.encoders.text_tower import TextTowerError

    towers = dict[str, "TextTower | TextTowerError"]()
    completed, left_out, problems = [], [], []
    for entry, source in zip(entries, sources, strict=True):
        try:
            anchors = _anchors(entry, source, towers)
        except TextTowerError as error:
            who = f"{source.data}, {source.encoder}"
            left_out.append(f"{who}: {', '.join(wanted)} left out: {error}")
            completed.append(source)
            continue
        except UserError as error:
            problems.append(str(error))
            continue
        name = f"{file_name(source.data)}_{file_name(source.encoder)}_text.npz"
        path: Path = (config.out / FEATURES / name).resolve()
        save_features(texts_table(anchors, anchors.classes), path)
        facts = source.facts | {"texts": anchors.about | {"prompts": anchors.prompts}}
        completed.append(replace(source, anchors=path, anchors_digest=anchors.digest, facts=facts))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return completed, left_out


def _anchors(
    entry: FeatureSource, source: LoadedSource, towers: "dict[str, TextTower | TextTowerError]"
) -> "TextAnchors":
    from cvgssl.encoders.text_anchors import check_joint_space, text_anchors
    from cvgssl.encoders.text_tower import TextTowerError, load_text_tower

    if not entry.text:
        raise TextTowerError("no CLIP file is named for its texts; give text: NAME=FILE")
    if entry.text not in towers:
        try:
            towers[entry.text] = load_text_tower(entry.text)
        except TextTowerError as error:
            towers[entry.text] = error
    tower = towers[entry.text]
    if isinstance(tower, TextTowerError):
        raise tower
    anchors = text_anchors(source.facts["classes"], tower, entry.prompts)
    check_joint_space(anchors, source.facts["about"], source.facts["numbers"])
    return anchors
