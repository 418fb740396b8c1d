"""TensorBoard, Weights & Biases and MLflow, with their files inside the run folder.

Nothing leaves the machine unless the user's environment says so (WANDB_API_KEY or WANDB_MODE,
MLFLOW_TRACKING_URI).
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from cvgssl.runtime.errors import UserError

DEFAULTS = {
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # mlflow's other store needs a database package; plain files can be read by every mlflow.
    "MLFLOW_ALLOW_FILE_STORE": "true",
}


def prepare_trackers(names: Sequence[str]) -> None:
    """Check that the trackers are installed and keep them from calling home.

    To be called before they are imported. Raises UserError for a package that is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--track {name}: not installed; pip install 'cvgssl[{name}]'")
    if not names:
        return
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if not os.environ.get("WANDB_API_KEY"):
        # Without an account wandb would ask for one on the terminal; its files stay local.
        os.environ.setdefault("WANDB_MODE", "offline")


def start_trackers(accelerator: Accelerator, folder: Path, options: dict[str, Any]) -> None:
    """Start the trackers that `accelerator` was launched with; they log to `folder`.

    options: JSON values, stored with the run.
    """
    names = [str(name) for name in accelerator.log_with]
    if "mlflow" in names and accelerator.is_main_process:
        _set_mlflow_store(folder / "mlruns")
    accelerator.project_configuration.logging_dir = str(folder)
    flat = {
        name: value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in options.items()
    }
    accelerator.init_trackers("cvgssl", flat, {"wandb": {"dir": str(folder)}})
    if "wandb" in names and accelerator.is_main_process:
        accelerator.get_tracker("wandb", unwrap=True).define_metric("*", step_metric="epoch")


def track(accelerator: Accelerator, draw: int | None, epoch: int, values: dict[str, float]) -> None:
    """Log the figures of one epoch, from 1: `draw_1/test_acc` and so on; `loss` without a draw."""
    before = "" if draw is None else f"draw_{draw}/"
    named = {before + name: value for name, value in values.items()}
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":  # drops what comes at an earlier step, as every new draw does
            tracker.log(named | {"epoch": epoch})
        else:
            tracker.log(named, step=epoch)


def _set_mlflow_store(store: Path) -> None:
    """Let mlflow write to `store`, unless the user named a server."""
    import mlflow

    named = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(named or store.resolve().as_uri())
    if not named:  # mlflow notes it for child processes; a later run would take it for the user's
        os.environ.pop("MLFLOW_TRACKING_URI", None)
