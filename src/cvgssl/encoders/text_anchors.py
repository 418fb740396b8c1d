"""Classes as points of a CLIP's joint space, made of their names or of descriptions.

Shape letters: K classes, D numbers of the joint space.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.teacher_spec import TeacherSpec
from cvgssl.encoders.text_loading import load_text_tower
from cvgssl.encoders.text_prompts import Prompts, class_prompts
from cvgssl.encoders.text_tower import TextTower, TextTowerError


@dataclass(frozen=True)
class TextAnchors:
    """One unit vector for each class.

    classes: K names. values: float32 [K, D], in their order.
    scale: what cosines are multiplied with before the softmax (100 for OpenAI's CLIP).
    prompts: the sentences that each class is the mean of. about: weights and activation, JSON.
    """

    classes: tuple[str, ...]
    values: NDArray[np.float32]
    scale: float
    prompts: Prompts
    about: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of all that the vectors follow from."""
        parts = [self.classes, self.prompts, self.about]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def text_anchors(
    classes: Sequence[str],
    weights: str | TeacherSpec | TextTower,
    prompts: Mapping[str, Sequence[str]] | Path | None = None,
) -> TextAnchors:
    """Embed the classes' names by the text tower of a CLIP; nothing is downloaded.

    weights: NAME=FILE or FILE, as encoders are named (`ViT-B/32=ViT-B-32.pt`), or a tower.
    prompts: descriptions by class, or a file of them (see `text_prompts.read_prompts`); left out:
        the class names in words, put into a few sentences about metal surfaces.
    A class is the mean of its sentences' unit embeddings, brought to length 1 (Radford et al.
    2021).
    Raises TextTowerError, a UserError, for weights without a text tower that can be read, and
    UserError for prompts that do not fit.
    """
    sentences = class_prompts(tuple(classes), prompts)
    tower = weights if isinstance(weights, TextTower) else load_text_tower(weights)
    embedded = tower([one for listed in sentences.values() for one in listed]).numpy()
    ends = np.cumsum([len(listed) for listed in sentences.values()])
    means = np.stack([part.mean(axis=0) for part in np.split(embedded, ends[:-1])])
    values = means / np.linalg.norm(means, axis=1, keepdims=True)
    return TextAnchors(tuple(classes), values, tower.scale, sentences, tower.identity())


def check_joint_space(anchors: TextAnchors, about: Mapping[str, Any], width: int) -> None:
    """Raise TextTowerError unless features may be compared with these texts.

    about: what the features file says of itself; another program's says nothing, and then only
        the width (D) is known. width: of the features.
    """
    file = anchors.about["file"]
    encoders = [one for one in about.get("encoders") or () if isinstance(one, dict)]
    made_by = encoders[0].get("encoder") if encoders else None  # anything in others' files
    sha256 = made_by.get("sha256") if isinstance(made_by, dict) else None
    reason = None
    if len(encoders) > 1:
        reason = "are of several encoders; texts belong to one"
    elif about.get("preparation", "none") != "none":
        reason = "are centred or whitened; embed them with --preparation none"
    elif encoders and encoders[0].get("pool"):
        reason = "are pooled before the projection; embed them without --pooling"
    elif sha256 and sha256 != anchors.about["sha256"]:
        reason = f"are not of {file} (other SHA-256); name the file that made them"
    elif width != anchors.values.shape[1]:
        reason = (
            f"have {width} numbers, the texts of {file} {anchors.values.shape[1]}: not one space"
        )
    if reason:
        raise TextTowerError(f"features {reason}")
