"""A table of features in parts: a folder in which each process has written the rows of its share.

The files are called part-NUMBER-of-ALL.npz or .parquet; those of parquet are a dataset that other
programs read too. Each says in `about` whose share it is and of which pictures (`share`), and in
`places` where its rows belong, so that together they are the table of a single process.

N pictures in all, D numbers for each.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.columns import Columns, read_columns
from cvgssl.features.feature_store import scratch
from cvgssl.features.record import FEATURES_FOLDER
from cvgssl.features.shares import Share
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError

_NAME = re.compile(r"part-(\d{5,9})-of-(\d{5,9})(\.npz|\.parquet)")
_AT_A_TIME = 2**22  # numbers that are copied together
_OF_THE_MACHINE = ("data", "share")  # what parts of one table may say differently


def part_file(out: Path, share: Share) -> Path:
    """The file of a share in the folder `out`, whose name says the kind of its parts."""
    return out / f"part-{share.number:05d}-of-{share.of:05d}{out.suffix}"


def remove_other_parts(out: Path, share: Share) -> None:
    """Remove parts of another number of processes or of another kind: an earlier call's."""
    for path in out.iterdir():
        name = _NAME.fullmatch(path.name)
        if name and (int(name[2]) != share.of or name[3] != out.suffix):
            with suppress(FileNotFoundError):  # another process was first
                path.unlink()


def read_parts(folder: Path) -> Columns:
    """The parts in `folder` as one table, rows in the order that a single process gives.

    Values are copied, some rows at a time, into a file of the cache folder that goes with them.
    Raises UserError for parts that are missing, damaged or of different tables.
    """
    parts = [read_columns(path) for path in _files(folder)]
    _check_together(folder, parts)
    every = np.concatenate([_places(part) for part in parts])
    order = np.argsort(every)
    names = list(chain.from_iterable(part.names for part in parts))
    if len(set(names)) < len(names) or (np.diff(every[order]) == 0).any():
        raise UserError(f"{folder}: a picture is in several parts; run the command again")
    about = {name: fact for name, fact in parts[0].about.items() if name != "share"}
    return Columns(
        _values(parts, order),
        tuple(names[row] for row in order),
        _in_order([part.labels for part in parts], order),
        _in_order([part.splits for part in parts], order),
        about,
    )


def _files(folder: Path) -> list[Path]:
    """The parts by number; raises UserError unless all are there."""
    named = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    every = {(int(name[2]), name[3], int(name[1])): path for path, name in named if name}
    kinds = sorted({kind[:2] for kind in every})
    if not kinds:
        raise UserError(f"{folder}: is a folder without parts of features; name a features file")
    if len(kinds) > 1:
        endings = ", ".join(f"part-*-of-{of:05d}{ending}" for of, ending in kinds)
        raise UserError(f"{folder}: has parts of several tables ({endings}); remove the older ones")
    ((of, ending),) = kinds
    absent = (number for number in range(of) if (of, ending, number) not in every)
    missing = list(islice(absent, 11))  # a name can say any number of parts
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise UserError(
            f"{folder}: has {len(every)} of {of} parts, not those of RANK {shown}; wait for "
            "these processes, or start them again"
        )
    return [every[of, ending, number] for number in range(of)]


def _check_together(folder: Path, parts: Sequence[Columns]) -> None:
    for number, part in enumerate(parts):
        share = part.about.get("share")
        if part.places is None or not isinstance(share, dict):
            raise UserError(f"{folder}: part {number} does not say where its rows belong")
        if (share.get("number"), share.get("of")) != (number, len(parts)):
            raise UserError(f"{folder}: part {number} was another one; its name was changed")
        for difference, first, own in (
            ("other pictures", parts[0].about["share"].get("listing"), share.get("listing")),
            ("another encoder, version or option", _facts(parts[0]), _facts(part)),
        ):
            if own != first:
                raise UserError(
                    f"{folder}: part {number} is of {difference} than part 0; run the same "
                    "command in all processes"
                )


def _facts(part: Columns) -> tuple[int, dict[str, Any]]:
    about = {name: fact for name, fact in part.about.items() if name not in _OF_THE_MACHINE}
    return part.values.shape[1], about


def _places(part: Columns) -> NDArray[np.int64]:
    assert part.places is not None, "checked with the parts"
    return part.places


def _in_order(parts: Sequence[Sequence[str]], order: NDArray[np.intp]) -> tuple[str, ...]:
    every = list(chain.from_iterable(parts))
    return tuple(every[row] for row in order)


def _values(parts: Sequence[Columns], order: NDArray[np.intp]) -> NDArray[np.float32]:
    """Float32 [N, D]; row i is row order[i] of the parts one after the other."""
    width = parts[0].values.shape[1]
    joined = scratch(default_cache_dir() / FEATURES_FOLDER, len(order), width)
    to = np.empty_like(order)
    to[order] = np.arange(len(order))
    rows, begun = max(1, _AT_A_TIME // width), 0
    for part in parts:
        for start in range(0, len(part.values), rows):
            some = part.values[start : start + rows]
            joined[to[begun + start : begun + start + len(some)]] = some
        begun += len(part.values)
    return joined
