"""Boxes from Pascal VOC annotation files."""

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from cvgssl.runtime.parsing import parsing, read_limited

LARGEST_BYTES = 10_000_000
_DEEPEST = 100
_FARTHEST = 1e7  # pixels


@dataclass(frozen=True)
class ObjectBox:
    """An annotated object; corners in pixels as VOC counts them, from 1, both ends inside."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Square pixels, 0 for a box turned inside out."""
        return max(self.right - self.left + 1, 0) * max(self.bottom - self.top + 1, 0)

    def widened(self, margin: float, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) for slicing a `width` x `height` picture.

        Each side moves out by `margin` times the box's own width or height; what leaves the
        picture is cut off, so the result can be empty (right <= left or bottom <= top).
        """
        across = margin * (self.right - self.left + 1)
        down = margin * (self.bottom - self.top + 1)
        return (
            max(round(self.left - 1 - across), 0),
            max(round(self.top - 1 - down), 0),
            min(round(self.right + across), width),
            min(round(self.bottom + down), height),
        )


def read_voc(path: Path) -> tuple[ObjectBox, ...]:
    """All objects of a VOC file; raises UserError when it is not one.

    Document type declarations are refused: VOC files have none, and they are where entity
    bombs and references to other files live.
    """
    data = read_limited(path, "a VOC annotation", LARGEST_BYTES)
    with parsing(path, "a VOC annotation", "correct or remove it"):
        _check(data)
        root = ElementTree.fromstring(data)
        return tuple(_box(item) for item in root.iter("object"))


def main_class(boxes: Sequence[ObjectBox]) -> str:
    """The name with the largest total box area; equal areas: the first in the alphabet."""
    assert boxes
    areas: defaultdict[str, float] = defaultdict(float)
    for box in boxes:
        areas[box.name] += box.area
    return min(areas, key=lambda name: (-areas[name], name))


def _check(data: bytes) -> None:
    """Refuse what parses into far more than the file holds: declared entities, deep nesting."""
    depth = 0

    def refuse(*_declaration: object) -> None:
        raise ValueError("it has a document type declaration")

    def enter(*_element: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"elements nested more than {_DEEPEST} deep")

    def leave(*_element: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    parser.Parse(data, True)


def _box(item: ElementTree.Element) -> ObjectBox:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object without a name")
    corners = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if None in corners:
        raise ValueError(f"object {name!r} without a bndbox")
    numbers = [float(corner or "") for corner in corners]
    if not all(abs(number) < _FARTHEST for number in numbers):  # nor inf, nor nan
        raise ValueError(f"object {name!r} with a corner that is no place in a picture")
    return ObjectBox(name, *numbers)
