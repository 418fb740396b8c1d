"""The features that a benchmark runs on, which data set each belongs to, and their digests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvgssl.bench.entries import FeatureSource
from cvgssl.features.picture_folder import shown_folder
from cvgssl.features.table import UNLABELLED, FeatureTable, load_features
from cvgssl.images.names import name_bytes
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import printable


@dataclass(frozen=True)
class LoadedSource:
    """One data set as one encoder sees it.

    digest: SHA-256 of all that the features file says, except `about`.
    pictures: the folder whose pictures reports may show, if there is one.
    facts: what the report says about it (JSON values).
    mirrored: file of `embed_mirrored_each`, of the train pictures, where there is one;
        mirrored_digest: of what it says.
    anchors: file of text embeddings of the classes, where there are any (`texts.with_texts`);
        anchors_digest: of what they follow from.
    """

    data: str
    encoder: str
    file: Path
    digest: str
    pictures: Path | None
    facts: dict[str, Any]
    mirrored: Path | None = None
    mirrored_digest: str = ""
    anchors: Path | None = None
    anchors_digest: str = ""


def load_sources(entries: Sequence[FeatureSource]) -> list[LoadedSource]:
    """Read every file once; raises UserError that lists all that do not fit together."""
    sources = list[LoadedSource]()
    problems = list[str]()
    pictures = dict[str, tuple[Path, str]]()
    for entry in entries:
        try:
            table = read_table(entry.file)
            source = _source(entry, table)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [f"{entry.file}: {problem}" for problem in _unfit(table)]
        if any((source.data, source.encoder) == (other.data, other.encoder) for other in sources):
            problems.append(
                f"{entry.file}: {source.data} by {source.encoder} is listed twice; give data: and "
                "encoder: names in the configuration"
            )
        first, known = pictures.setdefault(source.data, (entry.file, _digest_of_names(table)))
        if known != _digest_of_names(table):
            problems.append(
                f"{entry.file}: other pictures or classes than {first}, which is called "
                f"{source.data} too; give them data: names of their own"
            )
        sources.append(source)
    if problems:
        raise UserError("\n".join(problems))
    return sources


def read_table(file: Path) -> FeatureTable:
    """The table in `file`, pictures sorted by name: the order in a file must change nothing."""
    table = load_features(file)
    return table.take(np.argsort(np.array(table.names), kind="stable"))


def _source(entry: FeatureSource, table: FeatureTable) -> LoadedSource:
    about = table.about
    data = printable(entry.data or Path(str(about.get("data", ""))).name or entry.file.stem)
    encoder = printable(entry.encoder or str(about.get("encoder", "")) or entry.file.stem)
    folder = entry.pictures or shown_folder(entry.file, about)
    train, test = (table.split(split) for split in ("train", "test"))
    facts = {
        "numbers": table.values.shape[1],
        "classes": list(table.classes),
        "train": [int((train.labels == label).sum()) for label in range(len(table.classes))],
        "test": [int((test.labels == label).sum()) for label in range(len(table.classes))],
        "unlabelled_train": int((train.labels == UNLABELLED).sum()),
        "about": about,
    }
    source = LoadedSource(data, encoder, entry.file.resolve(), _digest(table), folder, facts)
    if entry.mirrored is None:
        return source
    mirrored = read_table(entry.mirrored)
    if mirrored.names != train.names or mirrored.values.shape[1] % table.values.shape[1]:
        raise UserError(
            f"{entry.mirrored}: is not of the train pictures of {entry.file}; `cvgssl embed "
            "--mirrored` writes both"
        )
    digest = _digest(mirrored)
    return replace(source, mirrored=entry.mirrored.resolve(), mirrored_digest=digest)


def _unfit(table: FeatureTable) -> list[str]:
    problems = []
    if len(table.classes) < 2:
        problems.append("fewer than two classes are labelled; a benchmark needs labels")
    if not (table.split("test").labels != UNLABELLED).any():
        problems.append("no labelled test picture; names in test/CLASS/ or a column splits say it")
    return problems


def _digest_of_names(table: FeatureTable) -> str:
    text = "\n".join(
        f"{name}\t{label}\t{split}"
        for name, label, split in zip(table.names, table.labels, table.splits, strict=True)
    )
    return hashlib.sha256(name_bytes("\n".join((*table.classes, "", text)))).hexdigest()


def _digest(table: FeatureTable) -> str:
    values = np.ascontiguousarray(table.values, dtype="<f4")
    digest = hashlib.sha256(_digest_of_names(table).encode())
    digest.update(str(values.shape).encode())
    digest.update(values.data)
    return digest.hexdigest()
