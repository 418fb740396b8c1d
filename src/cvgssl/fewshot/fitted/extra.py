"""A second folder of pictures that nobody has labelled, beside those of DATA."""

from dataclasses import replace

import numpy as np

from cvgssl.features.embed import embed_raw
from cvgssl.features.table import SPLITS, UNLABELLED, FeatureTable
from cvgssl.fewshot.fitted.config import FitConfig
from cvgssl.runtime.errors import UserError


def with_extra(train: FeatureTable, table: FeatureTable, config: FitConfig) -> FeatureTable:
    """`train` and below it the pictures of --unlabelled, without labels.

    Those that `table`, all of DATA, holds already are left out: a test picture influences nothing.
    Raises UserError when no others are there.
    """
    folder = config.unlabelled
    if folder is None:
        return train
    found = embed_raw(config.embedding(data=folder, class_folders=False))[0].part(SPLITS[0])
    # the cache gives copies of a file the very same numbers
    seen = {row.tobytes() for row in table.values}
    new = []
    for place, row in enumerate(found.values):
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            new.append(place)
    if not new:
        raise UserError(f"--unlabelled {folder}: holds no train picture that DATA has not")
    extra = found.take(np.array(new, np.intp))
    return replace(
        train,
        values=np.concatenate([train.values, extra.values]),
        names=(*train.names, *(f"{folder.as_posix()}/{name}" for name in extra.names)),
        labels=np.concatenate([train.labels, np.full(len(extra), UNLABELLED, np.int64)]),
        splits=(*train.splits, *extra.splits),
    )
