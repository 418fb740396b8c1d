"""Chance: what every other strategy has to beat."""

import numpy as np

from cvgssl.fewshot.selection.base import Picked, Pool
from cvgssl.runtime.seeds import seed_for


def at_random(pool: Pool, budget: int, seed: int) -> Picked:
    """Any of the open pictures with the same probability. Scores are 0."""
    generator = np.random.default_rng(seed_for(seed, "random"))
    order = generator.permutation(np.flatnonzero(~pool.closed))[:budget]
    return Picked(order, np.zeros(budget))
