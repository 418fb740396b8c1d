"""Which part each picture shows: told by file names, or by near twins.

Pictures of one part (exposures, crops, frames) belong on one side of a split. Each function gives
a name of the part for every picture; equal names mean the same part.
"""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cvgssl.images.check_facts import PictureFacts, measure_all
from cvgssl.images.duplicates import near_pairs
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import counted, one_line, printable

log = logging.getLogger(__name__)

LONGEST_PATTERN = 200  # characters
MOST_SECONDS = 20.0  # for all names; a pattern such as (a+)+$ would take years

# in a process of its own, as nothing else can end a search that does not
_SEARCH = """
import json, re, sys
pattern, names = json.load(sys.stdin)
wanted = re.compile(pattern)
group = "part" if "part" in wanted.groupindex else 1
matches = map(wanted.search, names)
json.dump([match and match[group] for match in matches], sys.stdout)
"""


def by_pattern(pattern: str, names: Sequence[str], seconds: float = MOST_SECONDS) -> list[str]:
    """The part that each file's name tells: the first group of a regular expression, or `part`.

    names: N distinct paths below the data folder. The pattern is searched in the file name or, if
    it has a slash, in the whole path. Pictures whose name does not match are parts of their own.
    Raises UserError for a pattern that is none, has no group, matches no name or takes longer
    than `seconds`.
    """
    flag = f"--group-by {one_line(pattern, 80)}"
    if len(pattern) > LONGEST_PATTERN:
        raise UserError(f"{flag}: longer than {LONGEST_PATTERN} characters")
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{flag}: no regular expression ({one_line(error)})") from error
    if not groups:
        raise UserError(f"{flag}: put what names the part into parentheses, as in part_(\\d+)_")
    searched = names if "/" in pattern else [name.rpartition("/")[2] for name in names]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([pattern, searched]),
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{flag}: takes more than {seconds:g} s for {counted(len(names), 'name')}; write it "
            "without repetitions inside repetitions"
        ) from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{flag}: cannot be searched for in the names; write it simpler") from error
    parts: list[str | None] = json.loads(done.stdout)
    without = [name for name, part in zip(searched, parts, strict=True) if part is None]
    if len(without) == len(names):
        raise UserError(f"{flag}: matches none of the names, such as {printable(without[0])}")
    if without:
        log.warning(
            "%s: %d of %d names do not match, such as %s; each counts as a part of its own",
            flag,
            len(without),
            len(names),
            printable(without[0]),
        )
    return _named(names, parts)


def by_twins(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """The part by near twins as the data check finds them, and copies; twins of twins as well.

    names: N distinct names of the pictures. Those that cannot be read are parts of their own.
    """
    facts = measure_all(paths)
    rows = np.array([row for row, fact in enumerate(facts) if not isinstance(fact, str)], np.intp)
    readable = [fact for fact in facts if isinstance(fact, PictureFacts)]
    if len(readable) < len(paths):
        log.warning(
            "%s cannot be read (cvgssl data check names them); each counts as a part of its own",
            counted(len(paths) - len(readable), "picture"),
        )
    if not readable:
        return _named(names, [None] * len(names))
    everyone = np.arange(len(readable))
    hashes = np.array([fact.hash for fact in readable], np.uint64)
    pairs, _ = near_pairs(
        everyone, everyone, hashes, np.array([fact.thumbnail for fact in readable])
    )
    first: dict[str, int] = {}
    copies = [(first.setdefault(fact.content, row), row) for row, fact in enumerate(readable)]
    i, j = rows[np.concatenate([pairs, np.array(copies, np.intp)])].T
    linked = coo_array((np.ones(len(i)), (i, j)), shape=(len(paths), len(paths)))
    _, component = connected_components(linked, directed=False)
    smallest: dict[int, str] = {}
    for row, name in sorted(zip(component.tolist(), names, strict=True), key=lambda pair: pair[1]):
        smallest.setdefault(row, name)
    return _named(names, [smallest[row] for row in component.tolist()])


def _named(names: Sequence[str], parts: Sequence[str | None]) -> list[str]:
    """Names of parts, and names that no part has for the pictures without one."""
    return [
        f"name {name}" if part is None else f"part {part}"
        for name, part in zip(names, parts, strict=True)
    ]
