"""Text embeddings of classes as a table of features, and in files of such: a row for each class.

So they are read as carefully as pictures' embeddings, and without torch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cvgssl.features.table import SPLITS, FeatureTable
from cvgssl.runtime.errors import UserError

if TYPE_CHECKING:
    from cvgssl.encoders.text_anchors import TextAnchors

_LARGEST_SCALE = 1e6  # CLIP's training keeps its own below 100


def texts_table(anchors: "TextAnchors", classes: Sequence[str]) -> FeatureTable:
    """A row for each of `classes`, sorted; `about` has sentences, scale and weights."""
    count = len(classes)
    prompts = {name: anchors.prompts[name] for name in classes}
    return FeatureTable(
        anchors.values[[anchors.classes.index(name) for name in classes]],
        tuple(map(str, range(count))),
        np.arange(count),
        (SPLITS[0],) * count,
        tuple(classes),
        anchors.about | {"prompts": prompts, "scale": anchors.scale},
    )


def head_options(texts: FeatureTable) -> dict[str, Any]:
    """What a head of `TEXT_HEADS` is made with, for labels that are places in `texts.classes`.

    Raises UserError for a table that `texts_table` did not make.
    """
    scale: Any = texts.about.get("scale")
    if type(scale) not in (int, float) or not 0 < scale <= _LARGEST_SCALE:
        raise UserError("texts of classes have no scale; write or copy them again")
    if sorted(texts.labels) != list(range(len(texts))):
        raise UserError("texts are not one row for each class; write or copy them again")
    return {"anchors": texts.values[np.argsort(texts.labels)], "anchor_scale": float(scale)}
