"""Text embeddings of a data set's classes, kept beside its features. Imports no torch."""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cvgssl.runtime.files import writing

if TYPE_CHECKING:
    from cvgssl.encoders.text_anchors import TextAnchors


def write_anchors(anchors: "TextAnchors", path: Path) -> None:
    """Write vectors, classes, scale and what they were made of, whole or not at all."""
    about = anchors.about | {"prompts": anchors.prompts, "scale": anchors.scale}
    with writing(path) as aside, aside.open("wb") as file:
        np.savez(
            file,
            values=anchors.values,
            classes=np.array(anchors.classes, dtype=np.str_),
            scale=np.float64(anchors.scale),
            about=np.str_(json.dumps(about, ensure_ascii=False)),
        )


@lru_cache(maxsize=16)
def read_anchors(path: Path, _digest: str) -> tuple[NDArray[np.float32], float]:
    """Vectors [K, D] and the scale; remembered while their digest stays as it is."""
    with np.load(path, allow_pickle=False) as file:
        return file["values"], float(file["scale"])
