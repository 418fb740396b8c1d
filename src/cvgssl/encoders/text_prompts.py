"""Class names, which are folder names, to sentences that a text tower can read. No torch."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cvgssl.runtime.errors import UserError

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

Prompts = dict[str, tuple[str, ...]]


def words_of(name: str) -> str:
    """A folder's name in words: `rolled-in_scale`, `RolledInScale`, `3_rolled in scale`."""
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
    Raises UserError when nothing given belongs to these classes, and when two classes would read
    the same; warns of names that are in no class and of class names too short to say anything.
    """
    where = str(given) if isinstance(given, Path) else "prompts"
    said = read_prompts(given) if isinstance(given, Path) else _checked(given or {}, where)
    templates = said.pop(OWN, TEMPLATES) if OWN not in classes else TEMPLATES
    wrong = [one for one in templates if one.count("{}") != 1]
    if wrong:
        raise UserError(f"{where}: template {wrong[0]!r} needs {{}} once, where the class goes")
    strange = sorted(set(said) - set(classes))
    if said and len(strange) == len(said):
        raise UserError(f"{where}: describes none of the classes {', '.join(classes)}")
    if strange:
        log.warning("%s: no class is called %s; not used", where, ", ".join(strange))
    short = [name for name in classes if name not in said and len(words_of(name)) < 3]
    if short:
        log.warning(
            "class names %s say little to a text encoder; describe them in a prompts file",
            ", ".join(short),
        )
    found = {
        name: tuple(
            dict.fromkeys(
                sentence
                for words in said.get(name, (words_of(name),))
                for sentence in _sentences(words, templates)
            )
        )
        for name in classes
    }
    _check_apart(found, where)
    return found


def read_prompts(path: Path) -> Prompts:
    """Descriptions by class from a file.

    YAML (.yaml, .yml, .json): `class: description` or `class: [description, ...]`. Any other text
    file: a line `class: description` for each description; lines that begin with # are comments.
    Raises UserError naming the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    else:
        content = _lines(path, text)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: must hold `class: description` lines")
    return _checked(content, str(path))


def _lines(path: Path, text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, description = line.partition(":")
        if not colon:
            raise UserError(f"{path}, line {number}: must be `class: description`")
        found.setdefault(name.strip(), []).append(description)
    return found


def _checked(content: Mapping[Any, Any], where: str) -> Prompts:
    found: Prompts = {}
    for name, value in content.items():
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, Sequence) or not listed:
            raise UserError(f"{where}: {name} needs a description, or a list of them")
        if not all(isinstance(one, str) and one.strip() for one in listed):
            raise UserError(f"{where}: {name} has a description that is empty or no text")
        found[str(name)] = tuple(" ".join(one.split()) for one in listed)
    return found


def _sentences(words: str, templates: Sequence[str]) -> list[str]:
    return [words] if words.endswith(".") else [one.replace("{}", words) for one in templates]


def _check_apart(found: Prompts, where: str) -> None:
    known: dict[frozenset[str], str] = {}
    for name, sentences in found.items():
        other = known.setdefault(frozenset(sentences), name)
        if other != name:
            raise UserError(f"{where}: {other} and {name} read the same; describe them apart")
