"""Which parts a generated data set shows: their classes, numbers, coils and split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvgssl.images.surfaces.kinds import GOOD, KINDS, PLAN, generator, prefix_of
from cvgssl.runtime.errors import UserError

COIL_LENGTH = 10  # parts of each class in a row that show the same coil
LEAST_PARTS = 5  # parts of a class in a plant
RARER = 0.6  # each kind of defect in a plant comes as often as the one before, times this
_PARTS_OF_COIL = 25  # of a plant, whatever their classes


@dataclass(frozen=True)
class Plant:
    """How a data set differs from pictures that defects fill, as many of each kind.

    good_share: share of the parts that have no defect; with it, `parts` in all, whose kinds of
    defect have long-tailed numbers (`long_tail`), and coils that all classes share. 0: as many
    of each kind of defect, each on coils of its own, and no good parts.
    defect_area: share of the picture that a defect's box covers, about; 1: defects fill it.
    defects_per_picture: a defective part has 1 to so many; its class is that of the largest.
    exposures: pictures of each part.
    """

    good_share: float = 0.0
    parts: int = 2000
    defect_area: float = 1.0
    defects_per_picture: int = 1
    exposures: int = 1


FILLED = Plant()


@dataclass(frozen=True)
class Part:
    """A part: its class, its number in it from 0, and the plant's coil it is of, if they share."""

    label: str
    index: int
    test: bool
    coil: int | None = None

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{prefix_of(self.label)}_{self.index + 1}"


def plan_equal(per_class: int, test_fraction: float) -> list[Part]:
    """As many parts of each kind of defect; the last of each are for testing."""
    tested = round(per_class * test_fraction)
    if not 0 < tested < per_class:
        raise UserError(
            f"--per-class {per_class} with --test-fraction {test_fraction} leaves "
            f"{tested} pictures of a class for test and {per_class - tested} for train; "
            "each needs at least 1"
        )
    return [
        Part(kind, index, test=index >= per_class - tested)
        for kind in KINDS
        for index in range(per_class)
    ]


def plan_plant(plant: Plant, test_fraction: float, seed: int) -> list[Part]:
    """The parts of a plant; test has coils of its own, and at least a part of each class."""
    rng = generator(seed, "", PLAN)
    numbers = long_tail(plant, rng)
    coils = max(2, round(plant.parts / _PARTS_OF_COIL))
    first_test = coils - min(max(round(coils * test_fraction), 1), coils - 1)
    parts = []
    for label, count in numbers.items():
        tested = min(max(round(count * test_fraction), 1), count - 1)
        of_train = rng.integers(0, first_test, count)
        of_test = rng.integers(first_test, coils, count)
        for index in range(count):
            test = index >= count - tested
            parts.append(Part(label, index, test, int((of_test if test else of_train)[index])))
    return parts


def long_tail(plant: Plant, rng: np.random.Generator) -> dict[str, int]:
    """How many parts there are of each class; which kinds are rare is drawn.

    Of the defective parts, every kind has `LEAST_PARTS`; the rest falls by the factor `RARER` from
    kind to kind. Raises UserError when there are too few parts for that.
    """
    good = round(plant.parts * plant.good_share)
    spare = plant.parts - good - LEAST_PARTS * len(KINDS)
    if spare < 0 or good < LEAST_PARTS:
        scarcer = max(min((1 - plant.good_share) / len(KINDS), plant.good_share), 1e-9)
        needed = int(np.ceil(round(LEAST_PARTS / scarcer, 6)))
        raise UserError(
            f"--parts {plant.parts} with --good-share {plant.good_share:g} leaves {good} good and "
            f"{plant.parts - good} defective parts; every class needs at least {LEAST_PARTS}: use "
            f"--parts {needed} or more, or a --good-share nearer to 0.5"
        )
    weights: NDArray[np.float64] = RARER ** np.arange(len(KINDS), dtype=np.float64)
    counts = LEAST_PARTS + _apportion(spare, weights)
    order = rng.permutation(len(KINDS))
    of_kind = dict(zip((KINDS[place] for place in order), map(int, counts), strict=True))
    return {GOOD: good, **{kind: of_kind[kind] for kind in KINDS}}


def _apportion(total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in proportion to falling `weights` that sum to `total`."""
    ends = np.rint(np.cumsum(weights) / weights.sum() * total).astype(np.int64)
    counts: NDArray[np.int64] = np.diff(ends, prepend=0)
    return counts
