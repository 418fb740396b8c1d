"""Files of SQLite, whose rows several threads and processes add and read at the same time.

Rows go to a file beside it first (WAL), so that readers never wait. Such a file is never opened
otherwise in a process that may have it open: closing it would let go of the locks that SQLite has
on it (POSIX locks belong to the process), and another process could remove the file beside it that
holds the newest rows.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.parsing import one_line

_SMALLEST = 512  # bytes
_WAIT = 30  # seconds for another process to end its writing
_AGAIN = 0.02  # seconds until a busy file is asked again

Row = tuple[Any, ...]


@dataclass(frozen=True)
class SqliteKind:
    """What a file holds.

    what: "file of a station" or the like. other: what to take where it cannot be used. number: of
    the format. tables: statements that make it. synchronous: whether each row is on the disk when
    it was added (full), or soon after, which a power cut can undo, but no kill (normal).
    """

    what: str
    other: str
    number: int
    tables: str
    synchronous: Literal["full", "normal"]


class SqliteFile:
    """A file of a kind, open; an object is for one thread at a time.

    Everything raises UserError for a file that is none, and MachineError for a disk that does not
    take rows, a lock that does not end and the like.
    """

    def __init__(
        self, path: Path, kind: SqliteKind, first: Sequence[tuple[str, Sequence[Any]]] = ()
    ) -> None:
        """Open it, or make it. first: statements that belong into a new one, with their values."""
        self.path, self._kind = path, kind
        with suppress(FileNotFoundError):
            if 0 < path.stat().st_size < _SMALLEST:  # SQLite would write over it
                raise self.damaged("another kind of file")
        with self._naming():
            # transactions are begun and ended by name below
            self._rows = sqlite3.connect(
                path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._use_wal()
            self._rows.execute(f"pragma synchronous = {kind.synchronous}")
        self._prepare(first)

    def select(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        with self._naming():
            return self._rows.execute(query, values).fetchall()

    def each(self, query: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """The same row by row."""
        with self._naming():
            yield from self._rows.execute(query, values)

    def do(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Do what a statement says; gives the number of the row that it added, if it added one."""
        with self._naming():
            return self._rows.execute(statement, values).lastrowid or 0

    def do_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Do the same for many rows."""
        with self._naming():
            self._rows.executemany(statement, rows)

    @property
    def is_alone(self) -> bool:
        """Whether a block of `alone` is at work."""
        return self._rows.in_transaction

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process adds rows during the block; what is done in it is done whole or not."""
        self.do("begin immediate")
        try:
            yield
            self.do("commit")
        except BaseException:
            if self._rows.in_transaction:  # a full disk has ended it
                self._rows.execute("rollback")
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._rows.close()

    def damaged(self, reason: object) -> UserError:
        """What to raise for rows that nobody of this project has written."""
        return UserError(
            f"{self.path}: is damaged or no {self._kind.what} ({one_line(reason)}); put a copy of "
            f"it back, or take {self._kind.other}"
        )

    def _use_wal(self) -> None:
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

    def _prepare(self, first: Sequence[tuple[str, Sequence[Any]]]) -> None:
        with self.alone():
            ((version,),) = self.select("pragma user_version")
            if version == 0 and not self.select("select 1 from sqlite_master"):
                for statement in _statements(self._kind.tables):
                    self.do(statement)
                for statement, values in first:
                    self.do(statement, values)
                self.do(f"pragma user_version = {self._kind.number}")
            elif version != self._kind.number:
                raise UserError(
                    f"{self.path}: has format {version}, this version of cvgssl reads "
                    f"{self._kind.number}; take the version that wrote it, or {self._kind.other}"
                )

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a lock, no right to write
            raise MachineError(f"{self.path}: {one_line(error)}") from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from error


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; triggers have semicolons in them."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
