"""The summary of a finished pre-training run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was given and what it ended with; also its summary.json.

    losses: mean of each loss term over the last epoch. monitors: figures of the last epoch.
    held_out: whether the data named test pictures, which were not used.
    guidance: empty for methods without. teachers: identity of each.
    seconds: wall-clock, without interruptions; guide_seconds: the part of it before training in
        which teachers embedded stored views. processor_seconds: CPU seconds of all cores, of the
        first process.
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
