"""Train pictures as they would look to a camera or under a lamp that has changed.

Shape letters: N train pictures, A and B others, D numbers of an embedding.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.recognizer.card import KeptPictures, load_recognizer, save_recognizer
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder

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

    Raises UserError where there are too few pictures before or after.
    """
    if min(len(before), len(after)) < LEAST:
        raise UserError(
            f"{len(before)} pictures before the change and {len(after)} since: re-centring needs "
            f"{LEAST} of each; wait for more"
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
