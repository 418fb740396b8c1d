"""The cosine schedule that learning rates and momenta follow."""

import math


def cosine(done: float, total: float = 1.0, start: float = 1.0, end: float = 0.0) -> float:
    """The value after `done` of `total` on half a cosine from `start` down or up to `end`.

    end + (start - end) * (1 + cos(pi * done / total)) / 2 (Loshchilov & Hutter 2017, SGDR, without
    restarts). done: 0..total, in any unit, fractions included.
    """
    return end + (start - end) * (0.5 * (1 + math.cos(math.pi * done / total)))
