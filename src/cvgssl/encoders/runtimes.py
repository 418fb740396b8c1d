"""Which program runs frozen networks: torch, or OpenVINO on the CPU. Imports neither."""

import os
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime

TORCH = "torch"
PACKAGE = "openvino"
_GPU_DRIVERS = ("/proc/driver/nvidia", "/dev/kfd", "/dev/dxg")


def chosen_program(runtime: Runtime, precision: str = "fp32") -> str:
    """`torch`, or `openvino VERSION`, which may still turn out not to take a network.

    `auto` is OpenVINO where it is installed and torch would compute on the CPU, in fp32 or bf16.
    Raises UserError when `openvino` was asked for and cannot be had.
    """
    if runtime == "torch":
        return TORCH
    version = _installed()
    if runtime == "auto":
        if version is None or precision == "fp16" or _has_gpu():
            return TORCH
    elif version is None:
        raise UserError("--runtime openvino: not installed; pip install 'cvgssl[openvino]'")
    elif precision == "fp16":
        raise UserError("--runtime openvino: computes in fp32 or bf16; change --precision fp16")
    return f"{PACKAGE} {version}"


def import_openvino() -> ModuleType:
    """OpenVINO, which by itself would report its import and every conversion to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(PACKAGE)


def _installed() -> str | None:
    try:
        return metadata.version(PACKAGE) if find_spec(PACKAGE) else None
    except (metadata.PackageNotFoundError, ValueError):  # a module of that name that is none
        return None


def _has_gpu() -> bool:
    """Whether torch has a GPU. It is imported and asked only where a driver of one is there."""
    if "torch" not in sys.modules and os.name != "nt" and not any(map(_exists, _GPU_DRIVERS)):
        return False
    import torch

    return torch.cuda.is_available()


def _exists(path: str) -> bool:
    return Path(path).exists()
