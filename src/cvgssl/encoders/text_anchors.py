"""Classes as points of a CLIP's joint space, made of their names or of descriptions.

Shape letters: K classes, D numbers of the joint space.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.encoders.encoder_spec import EncoderSpec
from cvgssl.encoders.text_tower import TextTower, TextTowerError, load_text_tower
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, parse_json, read_text
from cvgssl.runtime.yaml_files import is_text, read_yaml

log = logging.getLogger(__name__)

TEMPLATES = (
    "a photo of {} on a metal surface.",
    "a photo of a metal surface with {}.",
    "a photo of a steel surface with {}.",
    "a close-up photo of {} on steel.",
    "a grayscale photo of {} on a metal surface.",
    "an image of the surface defect {}.",
)
"""Fixed beforehand; no accuracy chose them."""
OWN = "templates"  # the key of a prompts file that replaces them

MOST_SENTENCES = 1_000_000

Prompts = dict[str, tuple[str, ...]]


def words_of(name: str) -> str:
    """A folder's name as words: `rolled-in_scale`, `RolledInScale`, `3_rolled in scale`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " "))
    words = " ".join(apart.split()).lower()
    return re.sub(r"^\d+[\s.)-]+(?=\S)", "", words) or name


def class_prompts(
    classes: Sequence[str], given: Mapping[str, Sequence[str]] | Path | None = None
) -> Prompts:
    """The sentences for every class, in the order of `classes`.

    given: a file (see `read_prompts`), or its content. What is given for a class takes the place
        of its folder's name: a whole sentence (it ends in a full stop) is taken as it is, other
        words are put into the templates. `templates`, where given, replaces these; each has {}.
    Raises UserError for names that no class has, and when two classes would read the same; warns
    of class names too short to say anything.
    """
    where = str(given) if isinstance(given, Path) else "prompts"
    described = read_prompts(given) if isinstance(given, Path) else _checked(given or {}, where)
    templates = described.pop(OWN, TEMPLATES) if OWN not in classes else TEMPLATES
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong:
        raise UserError(f"{where}: template {wrong[0]!r} needs {{}} once, where the class goes")
    strange = sorted(set(described) - set(classes))
    if strange:
        raise UserError(
            f"{where}: no class is called {one_line(', '.join(strange))}; the classes are "
            f"{one_line(', '.join(classes))}"
        )
    made = sum(len(described.get(name, (name,))) for name in classes) * len(templates)
    if made > MOST_SENTENCES:
        raise UserError(
            f"{where}: descriptions times templates are {made:,} sentences; at most "
            f"{MOST_SENTENCES:,} are made"
        )
    short = [name for name in classes if name not in described and len(words_of(name)) < 3]
    if short:
        log.warning(
            "class names %s say little to a text encoder; describe them in a prompts file",
            ", ".join(short),
        )
    prompts = {
        name: tuple(
            dict.fromkeys(
                sentence
                for words in described.get(name, (words_of(name),))
                for sentence in _sentences(words, templates)
            )
        )
        for name in classes
    }
    _check_apart(prompts, where)
    return prompts


def read_prompts(path: Path) -> Prompts:
    """Descriptions by class from a file.

    YAML (.yaml, .yml) or JSON (.json): `class: description` or `class: [description, ...]`, where
    classes are text as written (`01`, `no`). Any other text file: a line
    `class: description` for each description; lines that begin with # are comments. Raises
    UserError naming the file.
    """
    kind = "a file of descriptions"
    if path.suffix.lower() in (".yaml", ".yml"):
        content = read_yaml(path, kind)
    elif path.suffix.lower() == ".json":
        content = parse_json(path, kind)
    else:
        content = _lines(path, read_text(path, kind))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: must hold `class: description` lines")
    return _checked(content, str(path))


def _lines(path: Path, text: str) -> dict[str, list[str]]:
    descriptions: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, description = line.partition(":")
        if not colon:
            raise UserError(f"{path}, line {number}: must be `class: description`")
        descriptions.setdefault(name.strip(), []).append(description)
    return descriptions


def _checked(content: Mapping[Any, Any], where: str) -> Prompts:
    checked: Prompts = {}
    for name, value in content.items():
        shown = one_line(name)
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, Sequence) or not listed:
            raise UserError(f"{where}: {shown} needs a description, or a list of them")
        if not all(isinstance(words, str) and words.strip() for words in listed):
            raise UserError(f"{where}: {shown} has a description that is empty or no text")
        if not all(map(is_text, listed)):
            raise UserError(f"{where}: {shown} has a description with characters that are no text")
        checked[str(name)] = tuple(" ".join(words.split()) for words in listed)
    return checked


def _sentences(words: str, templates: Sequence[str]) -> list[str]:
    if words.endswith("."):
        return [words]
    return [template.replace("{}", words) for template in templates]


def _check_apart(prompts: Prompts, where: str) -> None:
    known: dict[frozenset[str], str] = {}
    for name, sentences in prompts.items():
        other = known.setdefault(frozenset(sentences), name)
        if other != name:
            raise UserError(f"{where}: {other} and {name} read the same; describe them apart")


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
    weights: str | EncoderSpec | TextTower,
    prompts: Mapping[str, Sequence[str]] | Path | None = None,
) -> TextAnchors:
    """Embed the classes' names by the text tower of a CLIP; nothing is downloaded.

    weights: NAME=FILE or FILE, as encoders are named (`ViT-B/32=ViT-B-32.pt`), or a tower.
    prompts: descriptions by class, or a file of them (see `read_prompts`); left out:
        the class names as words, put into a few sentences about metal surfaces.
    A class is the mean of its sentences' unit embeddings, brought to length 1 (Radford et al.
    2021).
    Raises TextTowerError, a UserError, for weights without a text tower that can be read, and
    UserError for prompts that do not fit.
    """
    sentences = class_prompts(tuple(classes), prompts)
    tower = weights if isinstance(weights, TextTower) else load_text_tower(weights)
    embedded = tower([sentence for texts in sentences.values() for sentence in texts]).numpy()
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
    encoders = [made for made in about.get("encoders") or () if isinstance(made, dict)]
    made_by = encoders[0].get("encoder") if encoders else None  # anything in others' files
    sha256 = made_by.get("sha256") if isinstance(made_by, dict) else None
    reason = None
    if len(encoders) > 1:
        reason = "are of several encoders; texts belong to one"
    elif encoders and encoders[0].get("pooling"):
        reason = "are pooled before the projection; embed them without --pooling"
    elif sha256 and sha256 != anchors.about["sha256"]:
        reason = f"are not of {file} (other SHA-256); name the file that made them"
    elif width != anchors.values.shape[1]:
        reason = (
            f"have {width} numbers, the texts of {file} {anchors.values.shape[1]}: not one space"
        )
    if reason:
        raise TextTowerError(f"features {reason}")
