"""What a training step hands to a method.

Shape letters: B pictures of one process's batch, V views, T teachers, C channels (1 gray or 3),
s_v side of view v in pixels, D_t width of teacher t.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Views of B pictures and what the teachers say about them.

    views: V times float32 0..1 [B, C, s_v, s_v]; the first is the weak one.
    teachers: T times float32 [V, B, D_t], raw features; empty for methods without teachers.
    progress: share of the whole training that is done, 0..1.
    """

    views: tuple[Tensor, ...]
    teachers: tuple[Tensor, ...]
    progress: float
