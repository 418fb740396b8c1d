"""Which weights fine-tuning changes, as the user says it. Imports no torch."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

TrainableKind = Literal["all", "head", "norm", "blocks", "lora"]
_NUMBERED = {"blocks": "how many of the last blocks, such as blocks:2", "lora": "RANK as in lora:8"}


@dataclass(frozen=True)
class Trainable:
    """The part of a recognizer that is trained; its linear classifier always is.

    kind: all; head, nothing else; norm, scale and shift of normalisation layers; blocks, the last
        `number` blocks and what follows them; lora, low-rank updates of rank `number`.
    """

    kind: TrainableKind
    number: int = 0


def parse_trainable(text: str) -> Trainable:
    """`all`, `head`, `norm`, `blocks:N` or `lora:RANK`; raises ValueError for anything else."""
    kind, colon, number = text.partition(":")
    if kind not in get_args(TrainableKind):
        raise ValueError("must be all, head, norm, blocks:N or lora:RANK")
    if kind not in _NUMBERED:
        if colon:
            raise ValueError(f"{kind} takes no number")
        return Trainable(cast(TrainableKind, kind))
    if not (number.isascii() and number.isdecimal() and int(number)):
        raise ValueError(f"needs a number from 1: {_NUMBERED[kind]}")
    return Trainable(cast(TrainableKind, kind), int(number))
