"""What `data check` finds, and the pictures in which it looks."""

from dataclasses import dataclass
from typing import Literal

from cvgssl.images.check_facts import Facts
from cvgssl.images.check_layout import Listed

Severity = Literal["spoils", "warning", "hint"]


@dataclass(frozen=True)
class Finding:
    """One kind of oddity. `items` are groups of files (pairs, or one file and a remark)."""

    kind: str
    severity: Severity
    message: str
    items: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A readable file: where it stands and what is in it."""

    entry: Listed
    facts: Facts
    shown: str  # path as the user reads it


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
