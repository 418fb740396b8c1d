"""Options that commands share. Imports no torch, so that `--help` is quick."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Tracker = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DeviceOptions:
    """What computes, and how precisely."""

    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="arithmetic")
    gpu: int | None = Field(
        default=None, ge=0, description="number of the GPU; the CPU if there is none"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JobOptions(DeviceOptions):
    """Where and how a training job runs."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of every random choice")
    track: tuple[Tracker, ...] = Field(
        default=(), description="also log to tensorboard, wandb, mlflow"
    )
    out: Path | None = Field(
        default=None, description="run folder; named after the options if left out"
    )
    log_dir: Path = Field(
        default=Path("logs"), description="where run folders without --out are made"
    )
    resume: Path | None = Field(
        default=None, description="folder of an interrupted run to finish, with the options it has"
    )
