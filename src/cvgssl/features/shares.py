"""Which pictures are whose, where several processes embed a data set.

A process knows its number and how many there are; nothing is said between them. It owns the
pictures whose names, hashed with the numbers of all processes, are largest with its own (rendezvous
hashing: Thaler and Ravishankar 1998). So shares are of nearly the same size, and where there is a
process more, each gives some pictures to it and no others move.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.runtime.errors import UserError

_STEP = 0x9E3779B97F4A7C15  # of the sequence of SplitMix64
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Share:
    """The share of process `number`, from 0, of `of` processes."""

    number: int
    of: int

    def rows(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Places of its pictures among all, by their names below the data folder."""
        hashes = np.array([_hash(name) for name in names], np.uint64)
        owner = np.zeros(len(hashes), np.intp)
        largest = np.zeros(len(hashes), np.uint64)
        for number in range(self.of):
            mixed = _mixed(hashes ^ np.uint64((number + 1) * _STEP % 2**64))
            owner[mixed >= largest] = number
            largest = np.maximum(largest, mixed)
        return np.flatnonzero(owner == self.number)


def own_share() -> Share | None:
    """The share of this process by RANK and WORLD_SIZE; None for a single one.

    torchrun sets them. Raises UserError for values that are no such numbers.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        share = Share(int(rank), int(world))
    except ValueError:
        share = Share(0, 0)
    if not 0 <= share.number < share.of:
        raise UserError(
            f"RANK={rank} WORLD_SIZE={world}: must be the number of this process, from 0, and how "
            "many there are; unset both for a single one"
        )
    return share if share.of > 1 else None


def _hash(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little")


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on all bits: the last steps of SplitMix64."""
    for shift, factor in _MIXING:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))
