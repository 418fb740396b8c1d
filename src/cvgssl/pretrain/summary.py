"""What a finished pre-training run says of itself."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was and what it ended with; also its summary.json.

    losses: mean of each loss term over the last epoch. monitors: figures of the last look.
    held_out: whether the data named test pictures, which were not used.
    seconds: by the clock, without interruptions; guide_seconds: of it, for what teachers say about
        stored views. processor_seconds: of all cores, of the first process.
    """

    data: str
    pictures: int
    held_out: bool
    arch: str
    pretrained: str
    builder: str
    guidance: str
    teachers: list[dict[str, Any]]
    epochs: int
    steps: int
    precision: str
    hardware: str
    processes: int
    seconds: float
    processor_seconds: float
    guide_seconds: float
    losses: dict[str, float]
    monitors: dict[str, float] = field(default_factory=dict)
