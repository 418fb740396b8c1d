"""What happened in a station, as rows that are only ever added: an SQLite file.

Every state follows from the rows before it, so nothing is lost by undoing and any state can be
made again. Several processes may add rows at the same time. A row is on the disk when `append`
returns.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.sqlite_file import SqliteFile, SqliteKind

LOG = "station.sqlite"
"""The file in a station's folder."""
_TABLES = """
create table events (
    number integer primary key autoincrement,
    at text not null,
    who text not null,
    kind text not null,
    facts text not null check (json_valid(facts))
);
create index events_by_kind on events (kind, number);
create trigger events_stay before update on events
    begin select raise(abort, 'events are never changed'); end;
create trigger events_last before delete on events
    begin select raise(abort, 'events are never deleted'); end;
"""
_KIND = SqliteKind("file of a station", "another folder", 1, _TABLES, "full")
_ADD = "insert into events (at, who, kind, facts) values (?, ?, ?, ?)"


@dataclass(frozen=True)
class Event:
    """A row. number: from 1, rising. at: UTC, ISO 8601. who: did it. facts: JSON values."""

    number: int
    at: str
    who: str
    kind: str
    facts: dict[str, Any]


def now() -> str:
    """The time as rows have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventLog:
    """The rows of one station; an object is for one thread at a time.

    Raises UserError for a file that is none, and MachineError for a disk that does not take rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SqliteFile(path, _KIND)

    def append(self, kind: str, who: str, **facts: Any) -> Event:
        """Add a row."""
        at = now()
        text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
        return Event(self._file.do(_ADD, (at, who, kind, text)), at, who, kind, json.loads(text))

    def append_all(self, rows: Iterable[tuple[str, str, str, dict[str, Any]]]) -> list[int]:
        """Add rows of at, who, kind and facts, all or none; gives their numbers.

        One wait for the disk however many they are.
        """
        texts = [
            (at, who, kind, json.dumps(facts, ensure_ascii=False, allow_nan=False))
            for at, who, kind, facts in rows
        ]
        with nullcontext() if self._file.is_alone else self.alone():
            return [self._file.do(_ADD, each) for each in texts]

    def events(self, *kinds: str, after: int = 0) -> Iterator[Event]:
        """Rows in order, those of some kinds or all, with numbers over `after`."""
        chosen = f" and kind in ({', '.join('?' * len(kinds))})" if kinds else ""
        rows = self._file.each(
            f"select number, at, who, kind, facts from events where number > ?{chosen}"
            " order by number",
            (after, *kinds),
        )
        for number, at, who, kind, facts in rows:
            yield Event(number, at, who, kind, self._facts(facts))

    def _facts(self, text: str) -> dict[str, Any]:
        try:
            facts = json.loads(text)
        except (ValueError, RecursionError, TypeError) as error:
            raise self.damaged(error) from error
        if not isinstance(facts, dict):
            raise self.damaged("a row without facts")
        return facts

    def index(self, name: str, kind: str, *columns: str) -> None:
        """Make `select` fast by these expressions in SQL among the rows of a kind.

        SQLite keeps it; that is no second state beside the rows.
        """
        self._file.do(
            f"create index if not exists {name} on events ({', '.join(columns)}) "
            f"where kind = '{kind}'"
        )

    def select(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query in SQL finds; the table `events` has number, at, who, kind, facts."""
        return self._file.select(query, parameters)

    def alone(self) -> AbstractContextManager[None]:
        """No other process adds rows during the block; its own rows are added whole or not."""
        return self._file.alone()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def damaged(self, reason: object) -> UserError:
        """What to raise for rows that no station has written."""
        return self._file.damaged(reason)
