"""The embeddings of a station's pool as labelling needs them, prepared once.

Shape letters: N pictures, D numbers of an embedding, B labelled pictures so far.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.plane import plane
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import SPLITS, FeatureTable
from cvgssl.images.names import is_utf8
from cvgssl.runtime.array_files import open_array, write_array
from cvgssl.runtime.errors import UserError
from cvgssl.selection.candidates import Surroundings
from cvgssl.selection.strategies import surroundings

log = logging.getLogger(__name__)


class PoolRows:
    """The train pictures of a table, in the order of their names.

    names: N. test: pictures of the table that are for testing. rows: float32 [N, D], prepared as
    for `cvgssl select`, of length 1. kept: folder for what takes seconds to compute (surroundings,
    places), found again by the table's content.
    Raises UserError for a table without train pictures.
    """

    def __init__(self, table: FeatureTable, kept: Path) -> None:
        train = table.split(SPLITS[0])
        self.test = len(table) - len(train)
        # no list of labels can hold the others' names, nor can a page ask for them
        named = [row for row, name in enumerate(train.names) if is_utf8(name)]
        if few := len(train) - len(named):
            log.warning("names of %d pictures are no UTF-8: they cannot be labelled", few)
        train = train.take(np.array(named, dtype=np.intp))
        train = train.take(np.argsort(np.array(train.names, dtype=object), kind="stable"))
        if not len(train):
            raise UserError("there are no pictures to label; test pictures are never labelled")
        self.names = train.names
        self.place = {name: row for row, name in enumerate(train.names)}
        prepared = Preparation(blocks=train.blocks).fit_transform(train.values)
        self.rows: NDArray[np.float32] = prepared.astype(np.float32)
        self._kept = kept
        self._digest = hashlib.sha256(self.rows.tobytes()).hexdigest()[:16]
        self._basis = np.zeros((0, self.rows.shape[1]))
        self._columns: list[NDArray[np.float64]] = []
        self._spanned: set[int] = set()

    def __len__(self) -> int:
        return len(self.names)

    def surroundings(self) -> Surroundings | None:
        """For the strategy `medoids`; None where there are too many pictures for a graph of them.

        Seconds for 10,000 pictures the first time.
        """
        try:
            joined = self._once("surroundings", self._joined)
        except UserError:  # no library for so many
            return None
        return Surroundings(joined[:, :-1], joined[:, -1].astype(np.float64))

    def places(self) -> NDArray[np.float32]:
        """Of the pictures on a plane [N, 2], within 0..1; see `features.plane`."""
        return self._once("places", lambda: plane(self.rows))

    def coordinates(self, labelled: Sequence[int]) -> NDArray[np.float64]:
        """All pictures [N, B + 1] with the same inner products with labelled ones as their rows.

        labelled: rows; those of earlier calls are kept. Heads that learn from labels alone need no
        more, and over a few labels they are several times faster: the coordinates are those in an
        orthonormal basis of the labelled rows, and the length of what is outside of its span. One
        more label is one more product of the rows with a vector (Gram-Schmidt).
        """
        for row in labelled:
            if row in self._spanned:
                continue
            self._spanned.add(row)
            left = self.rows[row].astype(np.float64)
            for _ in range(2):  # once is not enough in floating point
                left -= self._basis.T @ (self._basis @ left)
            length = float(np.linalg.norm(left))
            if length < 1e-5:  # a copy, or in the span by chance
                continue
            direction = left / length
            self._basis = np.vstack([self._basis, direction])
            self._columns.append((self.rows @ direction.astype(np.float32)).astype(np.float64))
        inside = np.column_stack([*self._columns, np.zeros(len(self))])
        whole = np.einsum("nd,nd->n", self.rows, self.rows, dtype=np.float64)
        inside[:, -1] = np.sqrt(np.maximum(whole - np.square(inside).sum(axis=1), 0))
        return inside

    def _joined(self) -> NDArray[np.float32]:
        mapped, rareness = surroundings(self.rows)
        return np.column_stack([mapped, rareness]).astype(np.float32)

    def _once(self, what: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """From the folder, where it is there and whole; else made and kept there."""
        path = self._kept / f"{what}-{self._digest}.npy"
        try:
            array = open_array(path, np.float32, (len(self), -1))
            if array is not None:
                return array
        except OSError as error:
            log.warning("%s: cannot be read (%s)", path, error.strerror)
        array = make()
        try:
            self._kept.mkdir(parents=True, exist_ok=True)
            write_array(path, array)
        except OSError as error:
            log.warning(
                "%s: cannot be written (%s); computed again next time", path, error.strerror
            )
        return array
