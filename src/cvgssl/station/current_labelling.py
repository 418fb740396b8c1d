"""The labelling of the pool that is chosen, made again when its embeddings are others."""

import threading
from pathlib import Path

from cvgssl.features.table import load_features
from cvgssl.station.labelling import Labelling
from cvgssl.station.labels import Labels
from cvgssl.station.pool import Pool


class CurrentLabelling:
    """For any number of threads. log: the file of the station's log."""

    def __init__(self, pool: Pool, log: Path) -> None:
        self._pool, self._log = pool, log
        self._lock = threading.Lock()
        self._state: tuple[Path, int] | None = None
        self._labelling: Labelling | None = None
        self._labels: Labels | None = None

    def __call__(self) -> Labelling | None:
        """None before there are embeddings; raises UserError where they cannot be read."""
        with self._lock:
            state = self._now()
            if state != self._state:
                self._end()
                if state is not None:
                    self._begin(state[0])
                self._state = state
            return self._labelling

    def close(self) -> None:
        """End what computes."""
        with self._lock:
            self._end()

    def _now(self) -> tuple[Path, int] | None:
        """The folder, and when its embeddings were written."""
        folder = self._pool.chosen()
        try:
            return None if folder is None else (folder, self._pool.features.stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def _begin(self, folder: Path) -> None:
        table = load_features(self._pool.features)
        self._labels = Labels(self._log, str(folder))
        self._labelling = Labelling(table, self._labels, self._pool.features.parent).__enter__()

    def _end(self) -> None:
        if self._labelling is not None:
            self._labelling.__exit__(None, None, None)
        if self._labels is not None:
            self._labels.close()
        self._labelling = self._labels = None
