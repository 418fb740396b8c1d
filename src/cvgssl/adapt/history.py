"""What a run of several draws has done, kept so that an interrupted one goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cvgssl.adapt.training import DrawResult, Trainer
from cvgssl.runtime.run import Clock


@dataclass
class DrawHistory:
    """What was done so far, before interruptions too.

    finished: of the draws that are complete. trainer: state of the one that was interrupted.
    """

    clock: Clock
    finished: list[DrawResult] = field(default_factory=list)
    trainer: dict[str, Any] | None = None

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over what an interrupted process had done."""
        self.clock.went_on(snapshot["seconds"], 0.0)
        self.finished = [DrawResult(**result) for result in json.loads(snapshot["finished"])]
        self.trainer = snapshot["trainer"]
        if self.trainer is not None:
            self.trainer["epoch"] = int(self.trainer["epoch"])  # an epoch is what goes on

    def snapshot(self, trainer: Trainer | None) -> dict[str, Any]:
        """All that is needed to go on; trainer: of the draw at work, None between two."""
        return {
            # as text: a confusion of many classes would be too much for the reader of snapshots
            "finished": json.dumps([asdict(result) for result in self.finished]),
            "trainer": trainer.state() if trainer else None,
            "seconds": self.clock.seconds,
        }
