"""What the classes of a recognizer are called, as its encoder's own text tower sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cvgssl.features.config import AUTO
from cvgssl.features.encoder_requests import requested_encoders
from cvgssl.features.table import FeatureTable
from cvgssl.images.assemble import normal
from cvgssl.recognizer.config import FitConfig
from cvgssl.runtime.errors import UserError, naming
from cvgssl.selection.label_list import UNSURE, read_labels

if TYPE_CHECKING:
    from cvgssl.encoders.text_anchors import TextAnchors


def class_texts(config: FitConfig, classes: Sequence[str]) -> "TextAnchors":
    """Text embeddings of the classes by the text tower of --encoder, before anything is embedded.

    classes: of DATA; without any they are those of --labels.
    Raises UserError for encoders without a text tower, or whose embeddings are in another space
    than its texts, and for prompts that do not fit.
    """
    from cvgssl.encoders.text_anchors import read_prompts, text_anchors

    requests = requested_encoders(config.embedding())
    classes = classes or _listed(config)
    if config.prompts is not None:
        with naming("--prompts"):
            read_prompts(config.prompts)  # mistakes show before the tower is built
    with naming(f"--head {config.head}"):
        if len(requests) != 1:
            raise UserError(
                f"compares pictures with texts of the same CLIP; name one --encoder, not "
                f"{len(requests)}"
            )
        (request,) = requests
        if request.config.pooling != AUTO:
            raise UserError(
                f"pooling {request.config.pooling} gives embeddings from before the CLIP's "
                "projection, which cannot be compared with texts; leave it out"
            )
        from cvgssl.encoders.text_tower import load_text_tower

        tower = load_text_tower(request.spec)
        return text_anchors(classes, tower, config.prompts)


def _listed(config: FitConfig) -> list[str]:
    """The classes that --labels names, sorted."""
    assert config.labels is not None, "--shot takes class folders"
    labels = {normal(line.label) for line in read_labels(config.labels, "--labels")}
    if not labels - {"", UNSURE}:
        raise UserError(
            f"--labels {config.labels}: no picture has a label; fill in the column label"
        )
    return sorted(labels - {"", UNSURE})


def check_space(config: FitConfig, texts: "TextAnchors", table: FeatureTable) -> None:
    """Raise UserError unless embeddings can be compared with these texts."""
    from cvgssl.encoders.text_anchors import check_joint_space

    with naming(f"--head {config.head}"):
        check_joint_space(texts, table.about, table.values.shape[1])
