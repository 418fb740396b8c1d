"""Which program runs frozen networks: torch, or a compiler on the CPU. Imports none of them."""

import os
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime

TORCH, OPENVINO, ONNXRUNTIME = "torch", "openvino", "onnxruntime"
# the extra of each, and what it has to have besides
_EXTRAS = {OPENVINO: ("openvino", ()), ONNXRUNTIME: ("onnx", ("onnx", "onnxscript"))}
_PRECISIONS = {OPENVINO: ("fp32", "bf16"), ONNXRUNTIME: ("fp32",)}
_GPU_DRIVERS = ("/proc/driver/nvidia", "/dev/kfd", "/dev/dxg")


def chosen_program(runtime: Runtime, precision: str = "fp32") -> str:
    """`torch`, or `openvino VERSION`, which may still turn out not to take a network.

    `auto` is the first of OpenVINO and ONNX Runtime that is installed and has the precision, where
    torch would compute on the CPU. Raises UserError when one of them was asked for and cannot be
    had.
    """
    if runtime == TORCH:
        return TORCH
    if runtime == "auto":
        return _fastest(precision)
    version, precisions = installed_version(runtime), _PRECISIONS[runtime]
    if version is None:
        extra = _EXTRAS[runtime][0]
        raise UserError(f"--runtime {runtime}: not installed; pip install 'cvgssl[{extra}]'")
    if precision not in precisions:
        raise UserError(
            f"--runtime {runtime}: computes in {' or '.join(precisions)}, and the embedding is "
            f"to be in {precision} (as --precision or the recognizer says); use --runtime torch"
        )
    return f"{runtime} {version}"


def _fastest(precision: str) -> str:
    for package, precisions in _PRECISIONS.items():
        version = installed_version(package) if precision in precisions else None
        if version is not None and not has_gpu():
            return f"{package} {version}"
    return TORCH


def import_openvino() -> ModuleType:
    """OpenVINO, which by itself would report its import and every conversion to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(OPENVINO)


def installed_version(package: str) -> str | None:
    """Of `OPENVINO` or `ONNXRUNTIME`; None where it, or what it needs besides, is missing."""
    try:
        there = all(map(find_spec, (package, *_EXTRAS[package][1])))
        return metadata.version(package) if there else None
    except (metadata.PackageNotFoundError, ValueError):  # a module of that name that is none
        return None


def has_gpu() -> bool:
    """Whether torch has a GPU. It is imported and asked only where a driver of one is there."""
    if "torch" not in sys.modules and os.name != "nt" and not any(map(_exists, _GPU_DRIVERS)):
        return False
    import torch

    return torch.cuda.is_available()


def _exists(path: str) -> bool:
    return Path(path).exists()
