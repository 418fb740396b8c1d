"""A folder of pictures that nobody has labelled, beside those of the data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from cvgssl.fewshot.config import AdaptConfig
from cvgssl.images.listing import list_pictures
from cvgssl.images.store import LoadedDataset, Pictures, load_pictures
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress


@dataclass(frozen=True)
class Unlabelled:
    """Decoded pictures without labels.

    rows: int [P], those of `pictures` that may be used: each content once, none that is in the
        data set. A test picture never influences anything, and training pictures are there already.
    """

    pictures: Pictures
    rows: NDArray[np.intp]

    def describe(self) -> str:
        """A few words for the log."""
        left_out = len(self.pictures) - len(self.rows)
        return f"{len(self.rows)} more without labels ({left_out} copies left out)"


def load_unlabelled(
    folder: Path, dataset: LoadedDataset, config: AdaptConfig, accelerator: Accelerator
) -> Unlabelled:
    """Decode all pictures below `folder`, as those of the data set were.

    Raises UserError when there are none, or none that the data set does not hold.
    """
    paths = list_pictures(folder)
    if not paths:
        raise UserError(f"--unlabelled {folder}: no pictures")
    first = accelerator.is_main_process
    with accelerator.local_main_process_first(), progress("decoding", len(paths), first) as advance:
        pictures, _ = load_pictures(
            paths,
            config.geometry,
            workers=config.workers,
            skip_corrupt=config.skip_corrupt,
            progress=advance,
        )
    seen = {*dataset.train.digests, *dataset.test.digests}
    rows = []
    for row, digest in enumerate(pictures.digests):
        if digest not in seen:
            seen.add(digest)
            rows.append(row)
    if not rows:
        raise UserError(f"--unlabelled {folder}: holds only pictures that the data set has already")
    return Unlabelled(pictures, np.array(rows, dtype=np.intp))
