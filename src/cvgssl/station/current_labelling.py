"""The labelling of the pool that is chosen, made again when its embeddings are others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvgssl.features.table import load_features
from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import Labels, found_again
from cvgssl.station.pool import Pool


class CurrentLabelling:
    """For any number of threads. log: the file of the station's log."""

    def __init__(self, pool: Pool, log: Path) -> None:
        self._pool, self._log = pool, log
        self._lock = threading.Lock()
        self._state: tuple[str, int] | None = None
        self._now: Labelling | None = None
        self._users: dict[Labelling, int] = {}  # blocks of `use` that are at work with each

    @contextmanager
    def use(self) -> Iterator[Labelling | None]:
        """The labelling of now, which stays usable until the end of the block.

        None before there are embeddings; raises UserError where they cannot be read.
        """
        with self._lock:
            labelling = self._current()
            if labelling is not None:
                self._users[labelling] += 1
        try:
            yield labelling
        finally:
            if labelling is not None:
                with self._lock:
                    self._users[labelling] -= 1
                    self._let_go(labelling)

    @property
    def newest(self) -> Labelling | None:
        """That of the last `use`, at once: for `Labelling.includes`, which needs no log."""
        return self._now

    def close(self) -> None:
        """End what computes."""
        with self._lock:
            self._end()

    def _current(self) -> Labelling | None:
        state = self._wanted()
        if state != self._state:
            self._end()
            if state is not None:
                self._now = self._begun(state[0])
                self._users[self._now] = 0
            self._state = state
        return self._now

    def _wanted(self) -> tuple[str, int] | None:
        """The key of the folder, and when its embeddings were written."""
        key = self._pool.key()
        try:
            return None if key is None else (key, self._pool.features.stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def _begun(self, key: str) -> Labelling:
        table = load_features(self._pool.features)
        here = found_again(self._log, key, table.names, self._pool.folder_of(key))
        labels = Labels(self._log, key, here)
        try:
            return Labelling(table, labels, self._pool.features.parent).__enter__()
        except BaseException:
            labels.close()
            raise

    def _end(self) -> None:
        before, self._now, self._state = self._now, None, None
        if before is not None:
            before.__exit__(None, None, None)
            self._let_go(before)

    def _let_go(self, labelling: Labelling) -> None:
        """Close the log of one that has ended, once nobody looks at it."""
        if labelling is not self._now and not self._users[labelling]:
            labelling.labels.close()
            del self._users[labelling]
