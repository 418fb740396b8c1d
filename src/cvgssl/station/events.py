"""What happened in a station, as rows that are only ever added: an SQLite file.

Every state follows from the rows before it, so nothing is lost by undoing and any state can be
made again. Several processes may add rows at the same time. A row is on the disk when `append`
returns.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line

LOG = "station.sqlite"
"""The file in a station's folder."""
FORMAT = 1  # raise when rows mean something else
_SMALLEST = 512  # bytes of an SQLite file
_WAIT = 30  # seconds for another process to end its writing
_AGAIN = 0.02  # seconds until a busy file is asked again
_TABLE = """
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
        # never opened here: closing it would let go of the locks that SQLite has on it in this
        # process, and another process could remove the file beside it that holds the newest rows
        with suppress(FileNotFoundError):
            if 0 < path.stat().st_size < _SMALLEST:  # SQLite would write over it
                raise self.damaged("another kind of file")
        with self._naming():
            # transactions are begun and ended by name below
            self._rows = sqlite3.connect(
                path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._use_wal()
            self._rows.execute("pragma synchronous = full")
            self._prepare()

    def _use_wal(self) -> None:
        """Have rows written to a file beside it first, so that readers never wait."""
        until = time.monotonic() + _WAIT
        while True:
            try:
                self._rows.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                # others that make the same new file; SQLite does not wait for them here
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_AGAIN)

    def append(self, kind: str, who: str, **facts: Any) -> Event:
        """Add a row."""
        at = now()
        text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
        with self._naming():
            added = self._rows.execute(_ADD, (at, who, kind, text))
        assert added.lastrowid is not None
        return Event(added.lastrowid, at, who, kind, json.loads(text))

    def append_all(self, rows: Iterable[tuple[str, str, str, dict[str, Any]]]) -> list[int]:
        """Add rows of at, who, kind and facts, all or none; gives their numbers.

        One wait for the disk however many they are.
        """
        texts = [
            (at, who, kind, json.dumps(facts, ensure_ascii=False, allow_nan=False))
            for at, who, kind, facts in rows
        ]
        with nullcontext() if self._rows.in_transaction else self.alone(), self._naming():
            added = [self._rows.execute(_ADD, each).lastrowid for each in texts]
        return [number for number in added if number is not None]

    def events(self, *kinds: str, after: int = 0) -> Iterator[Event]:
        """Rows in order, those of some kinds or all, with numbers over `after`."""
        chosen = f" and kind in ({', '.join('?' * len(kinds))})" if kinds else ""
        with self._naming():
            for number, at, who, kind, facts in self._rows.execute(
                "select number, at, who, kind, facts from events"
                f" where number > ?{chosen} order by number",
                (after, *kinds),
            ):
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
        with self._naming():
            self._rows.execute(
                f"create index if not exists {name} on events ({', '.join(columns)}) "
                f"where kind = '{kind}'"
            )

    def select(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query in SQL finds; the table `events` has number, at, who, kind, facts."""
        with self._naming():
            return self._rows.execute(query, parameters).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._rows.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process adds rows during the block; its own rows are added whole or not."""
        with self._naming():
            self._rows.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._rows.execute("rollback")
            raise
        with self._naming():
            self._rows.execute("commit")

    def _prepare(self) -> None:
        with self.alone():
            (version,) = self._rows.execute("pragma user_version").fetchone()
            if version == 0 and not self._rows.execute("select 1 from sqlite_master").fetchone():
                for statement in _statements(_TABLE):
                    self._rows.execute(statement)
                self._rows.execute(f"pragma user_version = {FORMAT}")
            elif version != FORMAT:
                raise UserError(
                    f"{self.path}: has format {version}, this version of cvgssl reads {FORMAT}; "
                    "take the version that wrote it, or another folder"
                )

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a lock, no right to write
            raise MachineError(f"{self.path}: {one_line(error)}") from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from error

    def damaged(self, reason: object) -> UserError:
        """What to raise for rows that no station has written."""
        return UserError(
            f"{self.path}: is damaged or no file of a station ({one_line(reason)}); put a copy of "
            "it back, or take another folder"
        )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; triggers have semicolons in them."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
