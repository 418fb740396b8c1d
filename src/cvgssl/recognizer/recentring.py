"""Train pictures as they would look to a camera or under a lamp that has changed.

Shape letters: N train pictures, A and B others, D numbers of an embedding.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.reading import Reading
from cvgssl.features.table import SPLITS, UNLABELLED, FeatureTable
from cvgssl.heads import TEXT_HEADS
from cvgssl.images.assemble import normal
from cvgssl.images.decoding import check_readable, warn_if_dark
from cvgssl.images.names import FilesBelow, KnownNames, comparable, text_form
from cvgssl.recognizer.alarm_file import NamedEmbeddings, embeddings_around, last_alarm
from cvgssl.recognizer.card import (
    KeptEmbeddings,
    RecognizerCard,
    load_recognizer,
    save_recognizer,
)
from cvgssl.recognizer.changes import identity
from cvgssl.recognizer.config import PredictOptions, RecentreConfig
from cvgssl.recognizer.finding import find_pictures, is_fitted
from cvgssl.recognizer.fit import LABELS, SUMMARY, write_train_labels
from cvgssl.recognizer.fitted import load_embedding
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, write_json
from cvgssl.runtime.options import CONFIG
from cvgssl.runtime.parsing import one_line, parse_json, problem_lines
from cvgssl.runtime.progress import progress
from cvgssl.selection.label_list import UNSURE, LabelLine, known_lines, read_labels

LEAST = 50  # pictures before and after
_OTHER = "since the change/"  # before names that train pictures have, too


@dataclass(frozen=True)
class Labelled:
    """Pictures from after a change that people have named.

    names: of L pictures. places: where they are. labels: their classes, which may be new. values:
    float32 [L, D].
    """

    names: Sequence[str]
    places: Sequence[Path]
    labels: Sequence[str]
    values: NDArray[np.float32]

    def take(self, rows: Sequence[int]) -> "Labelled":
        """The pictures in these rows."""
        return Labelled(
            [self.names[row] for row in rows],
            [self.places[row] for row in rows],
            [self.labels[row] for row in rows],
            self.values[np.array(rows, np.intp)],
        )


class Joined(NamedTuple):
    """labels: of further pictures that a recognizer learned. classes: new ones among them."""

    labels: int
    classes: tuple[str, ...]


def recentred(
    train: NDArray[np.floating[Any]],
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Embeddings float32 [N, D], moved by what the mean of others has moved by.

    train: [N, D]. before, after: unlabelled pictures [B, D] and [A, D] of the same line, before and
    after a change. Where no number is negative, square roots are moved, as `Preparation` takes
    them. It is wrong by as much as the shares of the classes differ between before and after: what
    belongs to a class is then taken for the camera.

    The idea is that of re-estimating the statistics of normalization after a shift (Schneider et
    al. 2020, NeurIPS, "Improving robustness against common corruptions by covariate shift
    adaptation"), here by embeddings and without a network.
    """
    root = all(bool((rows >= 0).all()) for rows in (train, before, after))
    first, second, rows = (
        (np.sqrt(each) if root else each).astype(np.float64) for each in (before, after, train)
    )
    moved = rows + (second.mean(axis=0) - first.mean(axis=0))
    made: NDArray[np.float32] = (moved.clip(0) ** 2 if root else moved).astype(np.float32)
    return made


def recentre(
    folder: Path,
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    out: Path,
    labelled: Labelled | None = None,
) -> Joined:
    """Write the recognizer of `folder` to `out` with its train pictures `recentred`.

    labelled: are learned besides, as they are, but for copies of train pictures. What was known of
    its accuracy is left out. Raises UserError where there are too few pictures before or after.
    """
    if min(len(before), len(after)) < LEAST:
        raise UserError(
            f"{len(before)} pictures before the change and {len(after)} since are known: "
            f"re-centring needs {LEAST} of each; wait for more, or name folders of them (`cvgssl "
            "recentre --before --after`)"
        )
    card, kept = load_recognizer(folder)
    train = replace(kept.train, values=recentred(kept.train.values, before, after))
    mirrored = kept.mirrored
    if mirrored is not None:  # several views of a picture side by side
        width = train.values.shape[1]
        views = mirrored.values.reshape(-1, width)
        moved = recentred(views, before, after).reshape(mirrored.values.shape)
        mirrored = replace(mirrored, values=moved)
    joined = Joined(0, ())
    if labelled is not None:
        copies = {row.tobytes() for row in kept.train.values}
        others = [row for row, each in enumerate(labelled.values) if each.tobytes() not in copies]
        labelled = labelled.take(others)
        new = {*labelled.labels} - {*card.classes}
        _check_texts(folder, card, labelled.labels)
        joined = Joined(len(others), tuple(sorted(new)))
        labelled = replace(labelled, names=_other_names(labelled.names, kept.train.names))
        train, mirrored = _with(train, mirrored, labelled)
        places = map(str, labelled.places)
        elsewhere = card.elsewhere | dict(zip(labelled.names, places, strict=True))
        card = replace(card, classes=train.classes, elsewhere=elsewhere)
    with new_folder(out, "--out") as aside:
        save_recognizer(aside, card, KeptEmbeddings(train, mirrored, kept.texts))
        write_train_labels(train, aside / LABELS)
        if (folder / CONFIG).is_file():
            shutil.copyfile(folder / CONFIG, aside / CONFIG)
        if (folder / SUMMARY).is_file():
            figures = parse_json(folder / SUMMARY, "figures of `cvgssl fit`")
            known = int((train.labels != UNLABELLED).sum())
            figures |= {"classes": train.classes, "labelled": known}
            write_json(aside / SUMMARY, figures | {"decision": None, "test": None})
    return joined


def _check_texts(folder: Path, card: RecognizerCard, labels: Iterable[str]) -> None:
    """Raise UserError for classes whose texts a recognizer would need and does not keep."""
    new = sorted({*labels} - {*card.classes})
    if new and card.head in TEXT_HEADS:
        raise UserError(
            f"{folder}: its head {card.head} needs a text for each class and keeps none of "
            f"{one_line(', '.join(new))}; fit again with pictures of the new class"
        )


def _other_names(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The same, but for those that train pictures have, too."""
    taken = {*known}

    def other(name: str) -> str:
        return other(_OTHER + name) if name in taken else name

    return list(map(other, names))


def _with(
    train: FeatureTable, mirrored: FeatureTable | None, labelled: Labelled
) -> tuple[FeatureTable, FeatureTable | None]:
    """Train pictures with further ones, and their mirror images, by all classes."""
    classes = tuple(sorted({*train.classes, *labelled.labels}))
    codes = {name: code for code, name in enumerate(classes)}
    recoded = np.array([*(codes[name] for name in train.classes), UNLABELLED])  # -1 is the last
    joined = replace(
        train,
        values=np.concatenate([train.values, labelled.values]),
        names=(*train.names, *labelled.names),
        labels=np.array(
            [*recoded[train.labels], *(codes[name] for name in labelled.labels)], np.int64
        ),
        splits=(*train.splits, *[SPLITS[0]] * len(labelled.names)),
        classes=classes,
    )
    if mirrored is not None:
        mirrored = replace(mirrored, labels=recoded[mirrored.labels], classes=classes)
    return joined, mirrored


def recentre_by(config: RecentreConfig) -> tuple[int, int, Joined]:
    """The same by pictures of an alarm's file, or of folders.

    Gives how many there were before and since the change, too. Raises UserError for what is wrong
    with the recognizer, the file, the pictures or the labels.
    """
    folder = config.recognizer
    if not is_fitted(folder):
        raise UserError(
            f"{folder}: keeps no embeddings to move; it must be a folder of `cvgssl fit`"
        )
    lines = _lines(config)  # mistakes show before the work of embedding
    if lines:
        _check_texts(folder, load_recognizer(folder)[0], [normal(line.label) for line in lines])
    if config.alarm is not None:
        alarm = last_alarm(config.alarm, identity(folder))
        before, after = embeddings_around(config.alarm, alarm.pictures, alarm.since)
    else:
        assert config.before is not None and config.after is not None, "checked with the options"
        before, after = _embedded(config, [config.before, config.after])
    labelled = _listed(config, lines, after)
    joined = recentre(folder, before.values, after.values, config.out, labelled)
    return len(before.names), len(after.names), joined


def _lines(config: RecentreConfig) -> list[LabelLine]:
    """The pictures of --labels that have one."""
    if config.labels is None:
        return []
    lines = read_labels(config.labels, "--labels")
    labelled = [line for line in lines if line.label not in ("", UNSURE)]
    if not labelled:
        raise UserError(
            f"--labels {config.labels}: no picture has a label; fill in the column label"
        )
    return labelled


def _listed(config: RecentreConfig, lines: Sequence[LabelLine], after: NamedEmbeddings) -> Labelled:
    """The pictures of these lines, which are among those since the change."""
    flag, rows = f"--labels {config.labels}", after.rows()
    lines = known_lines(lines, KnownNames(after.names, config.after), flag)
    if problems := [
        f"{flag} line {line.number}: {one_line(line.path)} is no picture since the change, or "
        "several different ones"
        for line in lines
        if line.path not in rows
    ]:
        raise UserError(problem_lines(problems))
    within = "" if config.after is None else f"{config.after.as_posix()}/"
    # the file of an alarm has names as `predict` was given them, from the working folder
    folder = (config.after or Path()).resolve()
    below = FilesBelow(folder)
    return Labelled(
        [within + line.path for line in lines],
        [below.find(line.path) or folder / line.path for line in lines],
        [normal(line.label) for line in lines],
        after.values[np.array([rows[line.path] for line in lines], np.intp)],
    )


def _embedded(config: RecentreConfig, folders: Sequence[Path]) -> list[NamedEmbeddings]:
    """Of the readable pictures in each folder."""
    paths_of_each = [find_pictures([folder]) for folder in folders]
    card, _ = load_recognizer(config.recognizer)
    options = PredictOptions(
        recognizer=config.recognizer,
        pictures=tuple(folders),
        encoder_files=config.encoder_files,
        gpu=config.gpu,
        runtime=config.runtime,
    )
    embedding = load_embedding(card, options)
    made = []
    for folder, paths in zip(folders, paths_of_each, strict=True):
        reading = Reading(paths, embedding.geometries, config)
        with progress("pictures", len(paths)) as advance:
            batches = [
                (batch.places, embedding(batch.squares)) for batch in reading.batches(advance)
            ]
        check_readable(reading.reasons(), len(paths), config.skip_corrupt)
        warn_if_dark(reading.brightest, embedding.geometries[0])
        names = [
            comparable(text_form(paths[place].relative_to(folder).as_posix()))
            for places, _ in batches
            for place in places
        ]
        made.append(NamedEmbeddings(names, np.concatenate([rows for _, rows in batches])))
    return made
