"""YAML files that people write: settings and descriptions, read with limits.

PyYAML's safe loader runs nothing, but a kilobyte of aliases can unfold to gigabytes, and words
such as `no`, `01` and `2026-01-05` become something else. Here keys are always text, dates stay
text, a key may be there once, and what a file unfolds to is bounded.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import one_line, parsing, read_limited

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""Values of a file after its aliases are unfolded."""
MOST_DEPTH = 50
_LONGEST_NUMBER = (
    4300  # characters, as Python's digits; 1:59:59 and so on takes time by their square
)

_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the others are bytes of names (PEP 383)
_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """The safe loader, with other rules for keys, dates and limits."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > 2 * MOST_VALUES:  # with keys; here, as reading them takes most of the time
            raise ValueError(f"more than {MOST_VALUES:,} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _check(node)
        return node


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file, None for an empty one.

    what: what it should have been, with its article ("a file of options").
    Raises UserError naming the file for everything that is wrong with it.
    """
    data = read_limited(path, what, MOST_BYTES)
    with parsing(path, what, "correct the YAML, or save it as UTF-8 text"):
        text = data.decode("utf-8-sig")
        try:
            return yaml.load(text, _Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"line {mark.line + 1}: " if mark else ""
            raise UserError(f"{path}: not YAML: {where}{one_line(error.problem)}") from error


def _check(root: yaml.Node) -> None:
    """Bound what `root` unfolds to, and make the keys of all its dictionaries text."""
    sizes = dict[int, int]()
    _measure(root, sizes, ())
    if sizes[id(root)] > MOST_VALUES:
        raise ValueError(f"its aliases unfold to more than {MOST_VALUES:,} values")


def _measure(node: yaml.Node, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise ValueError("a value contains itself")
    if len(above) > MOST_DEPTH:
        raise ValueError(f"values within values, more than {MOST_DEPTH} deep")
    inside = (*above, id(node))
    size = 1
    if isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            size += _measure(value, sizes, inside)
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: a key must be a word")
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: {one_line(key.value)} is there twice")
            seen.add(key.value)
            if key.value != "<<" or key.style:  # << takes over another dictionary
                key.tag = _TEXT
            _check_text(key)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_measure(item, sizes, inside) for item in node.value)
    elif isinstance(node, yaml.ScalarNode):
        _check_text(node)
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            line = node.start_mark.line + 1
            raise ValueError(f"line {line}: a number of {len(node.value):,} characters")
    sizes[id(node)] = size
    return size


def is_text(value: str) -> bool:
    """Whether text can be part of a path and be written as UTF-8, or represents such a path."""
    return "\0" not in value and not _LONE.search(value)


def _check_text(node: yaml.ScalarNode) -> None:
    if not is_text(node.value):
        line = node.start_mark.line + 1
        raise ValueError(f"line {line}: {one_line(node.value, 60)} has characters that are no text")
