"""Which pictures of a table have which label: by a list, by a draw, by nobody."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cvgssl.adapt.draws import draw
from cvgssl.features.embed import embed
from cvgssl.features.table import SPLITS, UNLABELLED, FeatureTable
from cvgssl.images.assemble import normal
from cvgssl.images.dataset import rows_without_copies
from cvgssl.images.names import KnownNames
from cvgssl.recognizer.config import FitConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, problem_lines
from cvgssl.selection.label_list import UNSURE, LabelLine, known_lines, read_labels


def labelled_train(table: FeatureTable, config: FitConfig) -> FeatureTable:
    """The train pictures of `table` with the labels of --labels or --shot; all others -1.

    Classes are those of the class folders, else those that the list names.
    Raises UserError when the list does not fit DATA, and when a class has no label.
    """
    train = table.part(SPLITS[0])
    if not len(train):
        raise UserError(f"{config.data}: has no train pictures; test pictures are never learned")
    if config.labels is not None:
        labelled, classes = _listed(config.labels, config.data, train, table)
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
    (support,) = draw(table.dataset(), shot, 1, seed).runs
    return {name: label for label, names in support.items() for name in names}


def _listed(
    path: Path, root: Path, train: FeatureTable, table: FeatureTable
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Picture -> class of a list that people filled in, and all classes, sorted."""
    flag = f"--labels {path}"
    lines = [
        line._replace(label=normal(line.label))
        for line in known_lines(read_labels(path, "--labels"), KnownNames(table.names, root), flag)
        if line.label and line.label != UNSURE
    ]
    if not lines:
        raise UserError(f"{flag}: no picture has a label; fill in the column label")
    _check_pictures(lines, flag, train, table)
    classes = table.classes or tuple(sorted({line.label for line in lines}))
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


def _check_pictures(
    lines: list[LabelLine], flag: str, train: FeatureTable, table: FeatureTable
) -> None:
    known = set(train.names)
    strange = [line for line in lines if line.path not in known]
    if not strange:
        return
    test = set(table.names).intersection(line.path for line in strange)
    first = next(line for line in strange if not test or line.path in test)
    kind = "test pictures" if test else "pictures that are not in DATA"
    remedy = "only train pictures are learned" if test else "paths are relative to DATA"
    raise UserError(
        f"{flag}: labels {len(test) or len(strange)} {kind}, the first {one_line(first.path)} in "
        f"line {first.number}; {remedy}"
    )


def _contradictions(lines: list[LabelLine], flag: str, train: FeatureTable) -> list[str]:
    """One line for each label that is not that of the picture's class folder."""
    folder = {
        name: train.classes[label] for name, label in zip(train.names, train.labels, strict=True)
    }
    return [
        f"{flag} line {line.number}: {line.path} is labelled {line.label}, but is in the class "
        f"{folder[line.path]}; correct one, or say --class-folders false"
        for line in lines
        if line.label != folder[line.path]
    ]


def with_extra(train: FeatureTable, table: FeatureTable, config: FitConfig) -> FeatureTable:
    """`train` and below it the pictures of --unlabelled, without labels.

    Those that `table`, all of DATA, holds already are left out: a test picture influences nothing.
    Raises UserError when no others are there.
    """
    folder = config.unlabelled
    if folder is None:
        return train
    more = embed(config.embedding(data=folder, class_folders=False)).part(SPLITS[0])
    # the cache gives copies of a file the very same numbers
    contents, known = (map(np.ndarray.tobytes, part.values) for part in (more, table))
    new = rows_without_copies(contents, known)
    if not len(new):
        raise UserError(f"--unlabelled {folder}: holds no train picture that is not in DATA")
    extra = more.take(new)
    return replace(
        train,
        values=np.concatenate([train.values, extra.values]),
        names=(*train.names, *(f"{folder.as_posix()}/{name}" for name in extra.names)),
        labels=np.concatenate([train.labels, np.full(len(extra), UNLABELLED, np.int64)]),
        splits=(*train.splits, *extra.splits),
    )
