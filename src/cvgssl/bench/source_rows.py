"""The rows of one source while its cells are computed: read once, prepared once, then dropped.

Shape letters: N rows of train/, Q of test/, D numbers each.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cvgssl.bench.sources import LoadedSource, read_table
from cvgssl.features.graph_cache import GraphCache
from cvgssl.features.mirrors import SupportViews, mirror_views
from cvgssl.features.preparation import Preparation
from cvgssl.features.preparation_modes import PreparationMode
from cvgssl.features.table import FeatureTable


@dataclass(frozen=True)
class PreparedRows:
    """Rows prepared by the train rows only: train [N, D], test [Q, D]; views of train.

    They are the same and in the same order for every draw, so that what depends only on them, such
    as a graph of neighbours, comes from the cache.
    """

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    views: SupportViews | None


class SourceRows:
    """What the cells of one source share in a process, whatever head, setting and draw.

    graphs: of the prepared train rows.
    """

    def __init__(self, source: LoadedSource) -> None:
        self.source = source
        self.graphs = GraphCache()
        self._prepared: dict[PreparationMode, PreparedRows] = {}

    @property
    def train(self) -> FeatureTable:
        """The train pictures, sorted by name."""
        return self._splits[0]

    @property
    def test(self) -> FeatureTable:
        """The test pictures, sorted by name."""
        return self._splits[1]

    @cached_property
    def mirrored(self) -> FeatureTable | None:
        """What the train pictures look like in mirrors, in their order."""
        file = self.source.mirrored
        return None if file is None else read_table(file).split("train")

    def prepared(self, mode: PreparationMode) -> PreparedRows:
        """All rows as `mode` prepares them."""
        if mode not in self._prepared:
            train, test = self._splits
            preparation = Preparation(mode, train.blocks).fit(train.values)
            views = mirror_views(preparation, self.mirrored, range(len(train)))
            self._prepared[mode] = PreparedRows(
                preparation.transform(train.values), preparation.transform(test.values), views
            )
        return self._prepared[mode]

    @cached_property
    def _splits(self) -> tuple[FeatureTable, FeatureTable]:
        table = read_table(self.source.file)
        return table.split("train"), table.split("test")
