"""Which pictures of a table have which label: by a list, by a draw, by nobody."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.adapt.draws import draw
from cvgssl.features.embed import Embedded, embed_all
from cvgssl.features.table import SPLITS, UNLABELLED, FeatureTable
from cvgssl.images.assemble import normal
from cvgssl.images.dataset import without_copies
from cvgssl.images.names import KnownNames
from cvgssl.recognizer.config import FitConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import counted, one_line, problem_lines
from cvgssl.selection.label_list import (
    UNSURE,
    LabelLine,
    known_lines,
    read_labels,
    warn_of_like_names,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnlabelledFeatures:
    """Embeddings of the pictures of --unlabelled.

    names: N, as lists have them, folder and name. new: rows of those that DATA does not hold.
    copies: of the others, by name, what the same picture is called there or above them.
    """

    folder: Path
    embedded: Embedded
    names: tuple[str, ...]
    new: NDArray[np.intp]
    copies: dict[str, str]

    def below(self, train: FeatureTable) -> FeatureTable:
        """`train` and below it the new ones, without labels."""
        extra = self.embedded.table.take(self.new)
        return replace(
            train,
            values=np.concatenate([train.values, extra.values]),
            names=(*train.names, *(self.names[row] for row in self.new)),
            labels=np.concatenate([train.labels, np.full(len(extra), UNLABELLED, np.int64)]),
            splits=(*train.splits, *extra.splits),
        )


def embed_unlabelled(table: FeatureTable, config: FitConfig) -> UnlabelledFeatures | None:
    """The train pictures of --unlabelled; None without.

    Those that `table`, all of DATA, holds already are copies: a test picture influences nothing.
    Raises UserError when no others are there, but for lists that name copies.
    """
    folder = config.unlabelled
    if folder is None:
        return None
    embedded = embed_all(config.embedding(data=folder, class_folders=False))
    names = tuple(f"{folder.as_posix()}/{name}" for name in embedded.table.names)
    # the cache gives copies of a file the very same numbers
    known = [row.tobytes() for row in table.values]
    train = np.array([split == SPLITS[0] for split in embedded.table.splits]).nonzero()[0]
    rows, places = without_copies((embedded.table.values[row].tobytes() for row in train), known)
    new, called = train[rows], (*table.names, *(names[row] for row in train))
    copies = {names[train[row]]: called[place] for row, place in places.items()}
    if not len(new) and not copies.keys() & _named(config):
        raise UserError(f"--unlabelled {folder}: holds no train picture that is not in DATA")
    if twice := set(names).intersection(table.names):
        raise UserError(
            f"--unlabelled {folder}: DATA has a picture of the same name, "
            f"{one_line(min(twice))}; give the whole path of the folder"
        )
    return UnlabelledFeatures(folder, embedded, names, new, copies)


def _named(config: FitConfig) -> set[str]:
    """Paths as the list has them, if there is one."""
    if config.labels is None:
        return set()
    return {line.path for line in read_labels(config.labels, "--labels") if line.label}


def labelled_train(
    table: FeatureTable, config: FitConfig, unlabelled: UnlabelledFeatures | None = None
) -> FeatureTable:
    """The train pictures of `table`, below them `unlabelled`, labelled by --labels or --shot or -1.

    Classes are those of the class folders, else those that the list names.
    Raises UserError when the list does not fit DATA, and when a class has no label.
    """
    train = table.split(SPLITS[0])
    if not len(train):
        raise UserError(f"{config.data}: has no train pictures; test pictures are never learned")
    train = train if unlabelled is None else unlabelled.below(train)
    if config.labels is not None:
        labelled, classes = _listed(config.labels, config, train, table, unlabelled)
    else:
        assert config.shot is not None, "checked with the options"
        labelled, classes = _drawn(config.shot, config.seed, table), train.classes
    codes = {name: code for code, name in enumerate(classes)}
    labels = [codes[labelled[name]] if name in labelled else UNLABELLED for name in train.names]
    return replace(train, labels=np.array(labels, np.int64), classes=classes)


def _drawn(shot: int, seed: int, table: FeatureTable) -> dict[str, str]:
    """Picture -> class of a draw, the first of `adapt.draws.draw`."""
    if not table.classes:
        raise UserError(f"--shot {shot}: DATA has no class folders to draw from; use --labels FILE")
    (support,) = draw(table.dataset(), shot, 1, seed).supports
    return {name: label for label, names in support.items() for name in names}


def _listed(
    path: Path,
    config: FitConfig,
    train: FeatureTable,
    table: FeatureTable,
    unlabelled: UnlabelledFeatures | None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Picture -> class of a list that people filled in, and all classes, sorted."""
    flag = f"--labels {path}"
    known = KnownNames(
        table.names if unlabelled is None else (*table.names, *unlabelled.names), config.data
    )
    lines = [
        line._replace(label=normal(line.label))
        for line in known_lines(read_labels(path, "--labels"), known, flag)
        if line.label and line.label != UNSURE
    ]
    if unlabelled is not None:
        lines = _without_copies(lines, unlabelled, flag, train)
    if config.skip_corrupt:
        lines = _without_unreadable(lines, flag, config.data, {*train.names, *table.names})
    if not lines:
        raise UserError(f"{flag}: no picture has a label; fill in the column label")
    _check_pictures(lines, flag, train, table)
    classes = table.classes or tuple(sorted({line.label for line in lines}))
    if not table.classes:
        warn_of_like_names([line.label for line in lines], flag)
    problems = _contradictions(lines, flag, train) if table.classes else []
    if problems:
        raise UserError(problem_lines(problems))
    missing = [name for name in classes if name not in {line.label for line in lines}]
    if missing:
        raise UserError(
            f"{flag}: no picture of {', '.join(missing)}; `cvgssl select --labels {path}` finds "
            "more to label, and --class-folders false takes the list's classes only"
        )
    if len(classes) < 2:
        raise UserError(f"{flag}: only one class, {classes[0]}; at least two are needed")
    return {line.path: line.label for line in lines}, classes


def _without_unreadable(
    lines: list[LabelLine], flag: str, root: Path, known: set[str]
) -> list[LabelLine]:
    """The lines of pictures that have embeddings, and of those that are not there at all."""
    unreadable = [
        line
        for line in lines
        if line.path not in known
        and any(path.is_file() for path in (root / line.path, Path(line.path)))
    ]
    if unreadable:
        log.warning(
            "%s: %s left out, because the pictures cannot be read, the first %s",
            flag,
            counted(len(unreadable), "label"),
            one_line(unreadable[0].path),
        )
    return [line for line in lines if line not in unreadable]


def _without_copies(
    lines: list[LabelLine], unlabelled: UnlabelledFeatures, flag: str, train: FeatureTable
) -> list[LabelLine]:
    """The lines, in which copies have the name of the picture that they are copies of.

    Copies of test pictures are left out with a warning. Raises UserError where a picture and its
    copy have different labels.
    """
    known, kept = set(train.names), dict[str, LabelLine]()
    left_out = 0
    for line in lines:
        name = unlabelled.copies.get(line.path, line.path)
        if name != line.path and name not in known:
            left_out += 1
            continue
        first = kept.setdefault(name, line._replace(path=name))
        if first.label != line.label:
            raise UserError(
                f"{flag} line {line.number}: {one_line(line.path)} is {line.label}, but the same "
                f"picture is {first.label} in line {first.number}; correct one"
            )
    if left_out:
        log.warning(
            "%s: %s of --unlabelled left out: test pictures are never learned",
            flag,
            "a copy of a test picture" if left_out == 1 else f"{left_out} copies of test pictures",
        )
    return list(kept.values())


def _check_pictures(
    lines: list[LabelLine], flag: str, train: FeatureTable, table: FeatureTable
) -> None:
    known = set(train.names)
    strange = [line for line in lines if line.path not in known]
    if not strange:
        return
    test = set(table.names).intersection(line.path for line in strange)
    first = next(line for line in strange if not test or line.path in test)
    named = counted(len(test), "test picture") if test else counted(len(strange), "picture")
    named += "" if test else " not in DATA"
    remedy = "only train pictures are learned" if test else "paths are relative to DATA"
    raise UserError(
        f"{flag}: labels {named}, the first {one_line(first.path)} in line {first.number}; {remedy}"
    )


def _contradictions(lines: list[LabelLine], flag: str, train: FeatureTable) -> list[str]:
    """One line for each label that is not that of the picture's class folder."""
    folder = {
        name: train.classes[label]
        for name, label in zip(train.names, train.labels, strict=True)
        if label != UNLABELLED
    }
    strange = [
        f"{flag} line {line.number}: {line.path} is labelled {line.label}, which is no class "
        "folder; correct it, or say --class-folders false"
        for line in lines
        if line.path not in folder and line.label not in train.classes
    ]
    return strange + [
        f"{flag} line {line.number}: {line.path} is labelled {line.label}, but is in the class "
        f"{folder[line.path]}; correct one, or say --class-folders false"
        for line in lines
        if line.label != folder.get(line.path, line.label)
    ]
