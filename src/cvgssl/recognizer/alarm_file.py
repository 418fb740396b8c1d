"""What the file of `--alarm` remembers of a change: its last alarm, the pictures around it."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.names import comparable
from cvgssl.recognizer.changes import KIND, LOOKED_AT, ChangeAlarm, alarm_of
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file, parsing
from cvgssl.runtime.sqlite_file import SqliteFile


def last_alarm(path: Path, recognizer: str) -> ChangeAlarm:
    """The newest one in the file of a `ChangeLog`.

    Raises UserError where there is none, and for a file that is none or of another recognizer.
    """
    if not check_file(path):
        raise UserError(f"{path}: is empty, no file of --alarm")
    with closing(SqliteFile(path, KIND)) as file:
        if [known for known, _ in file.select("select * from about")] != [recognizer]:
            raise UserError(f"{path}: is about the pictures of another recognizer")
        rows = file.select("select facts from alarms order by number desc limit 1")
    if not rows:
        raise UserError(f"{path}: holds no alarm; give pictures by --before and --after")
    with parsing(path, "a file of --alarm"):
        return alarm_of(json.loads(rows[0][0]))


class NamedEmbeddings(NamedTuple):
    """Of N pictures. names: as they were given, letters composed. values: float32 [N, D]."""

    names: Sequence[str]
    values: NDArray[np.float32]

    def rows(self) -> dict[str, int]:
        """A row for each name; not for one that several different pictures have."""
        by_name: dict[str, int] = {}
        unlike = set()
        for row, name in enumerate(self.names):
            first = by_name.setdefault(name, row)
            if first != row and not np.array_equal(self.values[first], self.values[row]):
                unlike.add(name)
        return {name: row for name, row in by_name.items() if name not in unlike}


def embeddings_around(
    path: Path, pictures: int, since: int
) -> tuple[NamedEmbeddings, NamedEmbeddings]:
    """Of pictures before and since a change, in the file of a `ChangeLog`.

    pictures, since: of a `ChangeAlarm`. While another thread or process adds pictures, too. Raises
    UserError where there is no such file.
    """
    check_file(path)
    first = pictures - since + 1
    parts = ((max(1, first - LOOKED_AT), first - 1), (first, pictures + LOOKED_AT))
    with closing(SqliteFile(path, KIND)) as file:
        rows_of_each = [
            file.select(
                "select name, embedding from pictures where number between ? and ? order by number",
                part,
            )
            for part in parts
        ]
    before, after = (
        NamedEmbeddings(
            [comparable(name) for name, _ in rows],
            np.array([np.frombuffer(embedding, np.float32) for _, embedding in rows]),
        )
        for rows in rows_of_each
    )
    return before, after
