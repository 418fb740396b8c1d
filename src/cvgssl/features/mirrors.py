"""Mirror images of labelled pictures: what heads that learn from labels alone see besides them.

A mirror image of a defect is the same kind of defect on most surfaces, so a label says something
about it too. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.completion import Files, complete_all
from cvgssl.features.config import AXES, Axes, EmbedConfig, Flips, SupportFlips
from cvgssl.features.embed import Embedded
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.feature_store import Rows
from cvgssl.features.table import SPLITS, FeatureTable
from cvgssl.images.decoding import hash_files
from cvgssl.runtime.errors import UserError

if TYPE_CHECKING:
    from cvgssl.features.preparation import Preparation


@dataclass(frozen=True)
class SupportViews:
    """Further embeddings of labelled pictures, such as those of their mirror images.

    values: float64 [V, D], of the same kind as the rows X of a head's `fit`. of: int [V], the row
    of X that is the same picture; views of rows without a label are passed over.
    """

    values: NDArray[np.float64]
    of: Rows


def embed_mirrored_each(
    jobs: Sequence[tuple[Embedded, Rows, EmbedConfig]], wanted: SupportFlips
) -> list[FeatureTable | None]:
    """Embeddings of pictures' mirror images, those of one picture side by side.

    jobs: what each configuration gave, places int [R] in its table, and the configuration; each
    network runs once for all. A result has values float32 [R, M * D] for M mirror images; None
    where there are none that its configuration does not average over.
    """
    requests = []
    for embedded, rows, config in jobs:
        paths = [embedded.paths[row] for row in rows]
        files = Files(paths, hash_files(paths, config), len(paths))
        for axes in mirrors_beside(wanted, config.flips):
            encoders = requested_encoders(config)
            requests += [(replace(request, mirror=axes), files) for request in encoders]
    complete = iter(zip(complete_all(requests), (files for _, files in requests), strict=True))
    tables: list[FeatureTable | None] = []
    for embedded, rows, config in jobs:
        mirrors = mirrors_beside(wanted, config.flips)
        if not mirrors:
            tables.append(None)
            continue
        pictures = embedded.table.take(rows)
        each = islice(complete, len(mirrors) * len(embedded.records))
        values = [encoder.store.gather(files.digests) for encoder, files in each]
        about = pictures.about | {"parts": pictures.blocks * len(mirrors), "mirrors": mirrors}
        tables.append(replace(pictures, values=np.concatenate(values, axis=1), about=about))
    return tables


def embed_mirrored_train(
    every: Sequence[tuple[Embedded, EmbedConfig]], wanted: SupportFlips
) -> list[FeatureTable | None]:
    """The same of all train pictures.

    Raises UserError for data without any.
    """
    jobs = []
    for embedded, config in every:
        rows = np.flatnonzero(np.array(embedded.table.splits) == SPLITS[0])
        if not len(rows) and "share" not in embedded.table.about:
            raise UserError(f"{config.data}: has no train pictures, which alone are mirrored")
        jobs.append((embedded, rows, config))
    return embed_mirrored_each(jobs, wanted)


def mirrors_beside(wanted: SupportFlips, averaged: Flips) -> list[Axes]:
    """Axes of the mirror images that are no copies where `averaged` ones are averaged over."""
    covered = {frozenset(axes) for axes in AXES[averaged]}
    mirrors = []
    for axes in AXES[wanted]:
        same = {frozenset(axes) ^ frozenset(other) for other in AXES[averaged]}
        if not same & covered:
            mirrors.append(axes)
            covered |= same
    return mirrors


def mirror_views(
    preparation: "Preparation", mirrored: FeatureTable | None, of: Sequence[int]
) -> SupportViews | None:
    """Prepared embeddings of mirror images, or None where there are none.

    preparation: fitted to rows [N, D]. mirrored: of `embed_mirrored_each`, R pictures. of: the row
    that each is for a head [R].
    """
    if mirrored is None:
        return None
    values = mirrored.values.reshape(-1, preparation.n_features_in_)
    count = len(values) // len(mirrored)
    return SupportViews(preparation.transform(values), np.repeat(np.array(of, np.intp), count))
