"""What a finished pre-training run says of itself."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was and what it ended with; also its summary.json.

    losses: mean of each loss term over the last epoch. monitors: figures of the last look.
    held_out: whether the data named test pictures, which were not used.
    seconds: without interruptions; guide_seconds: of it, for what teachers say about stored views.
    """

    data: str
    pictures: int
    held_out: bool
    arch: str
    init: str
    builder: str
    guidance: str
    teachers: list[dict[str, Any]]
    epochs: int
    steps: int
    precision: str
    hardware: str
    processes: int
    seconds: float
    guide_seconds: float
    losses: dict[str, float]
    monitors: dict[str, float] = field(default_factory=dict)
