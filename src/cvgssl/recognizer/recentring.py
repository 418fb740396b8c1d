"""Train pictures as they would look to a camera or under a lamp that has changed.

Shape letters: N train pictures, A and B others, D numbers of an embedding.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.reading import Reading
from cvgssl.images.decoding import check_readable, warn_if_dark
from cvgssl.recognizer.card import KeptPictures, load_recognizer, save_recognizer
from cvgssl.recognizer.changes import embeddings_around, identity, last_alarm
from cvgssl.recognizer.config import PredictOptions, RecentreConfig
from cvgssl.recognizer.finding import find_pictures, is_fitted
from cvgssl.recognizer.fit import LABELS, SUMMARY
from cvgssl.recognizer.fitted import load_embedding
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder, write_json
from cvgssl.runtime.options import CONFIG
from cvgssl.runtime.parsing import parse_json
from cvgssl.runtime.progress import progress

LEAST = 50  # pictures before and after


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
) -> None:
    """Write the recognizer of `folder` to `out` with its train pictures `recentred`.

    What was known of its accuracy is left out. Raises UserError where there are too few pictures
    before or after.
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
    with new_folder(out, "--out") as aside:
        save_recognizer(aside, card, KeptPictures(train, mirrored))
        for name in (LABELS, CONFIG):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, aside / name)
        if (folder / SUMMARY).is_file():
            figures = parse_json(folder / SUMMARY, "figures of `cvgssl fit`")
            write_json(aside / SUMMARY, figures | {"decision": None, "test": None})


def recentre_by(config: RecentreConfig) -> tuple[int, int]:
    """The same by pictures of an alarm's file, or of folders; gives how many of each there were.

    Raises UserError for what is wrong with the recognizer, the file or the pictures.
    """
    folder = config.recognizer
    if not is_fitted(folder):
        raise UserError(
            f"{folder}: keeps no embeddings to move; it must be a folder of `cvgssl fit`"
        )
    if config.alarm is not None:
        alarm = last_alarm(config.alarm, identity(folder))
        before, after = embeddings_around(config.alarm, alarm.pictures, alarm.since)
    else:
        assert config.before is not None and config.after is not None, "checked with the options"
        before, after = _embedded(config, [config.before, config.after])
    recentre(folder, before, after, config.out)
    return len(before), len(after)


def _embedded(config: RecentreConfig, folders: Sequence[Path]) -> list[NDArray[np.float32]]:
    """Embeddings of the readable pictures in each folder."""
    found = [find_pictures([folder]) for folder in folders]
    card, _ = load_recognizer(config.recognizer)
    options = PredictOptions(
        model=config.recognizer,
        images=tuple(folders),
        encoder=config.encoder,
        gpu=config.gpu,
        runtime=config.runtime,
    )
    embedding = load_embedding(card, options)
    made = []
    for paths in found:
        reading = Reading(paths, embedding.geometries, config)
        with progress("pictures", len(paths)) as advance:
            rows = [embedding(batch.squares) for batch in reading.batches(advance)]
        check_readable(reading.reasons(), len(paths), config.skip_corrupt)
        warn_if_dark(reading.brightest, embedding.geometries[0])
        made.append(np.concatenate(rows))
    return made
